//! Writes the seeds: the golden frames of the room's tests, in every form, small captures of every format, WebSocket
//! streams, and what venues say besides data.
//!
//! `seeds FOLDER` writes a folder a target: `FOLDER/decode_binance`, ..., `FOLDER/capture_line`.

#[path = "../../../../engine/feed/tests/common/frames.rs"]
#[allow(dead_code)]
mod frames;
#[path = "../../../../engine/feed/tests/common/streams.rs"]
#[allow(dead_code)]
mod streams;
mod transport;

use std::path::Path;

use tidegate_wire::Venue;

/// Frames that no venue sends today but that a reader must tell apart.
const ODD: [&str; 6] = [
    r#"{"result":null,"id":1}"#,
    r#"{"e":"kline","E":1,"s":"ABCUSDT","k":{"t":1,"x":false}}"#,
    r#"{"stream":"!markPrice@arr","data":[]}"#,
    r#"{"u":1,"s":"ABCUSDT","b":"1","B":"1","a":"2","A":"1","T":null,"x":true,"yy":0,"zzz":"\u0041"}"#,
    r#"{"code":2,"msg":"Invalid request"}"#,
    r#" { "lastUpdateId" : 1 , "bids" : [ ] , "asks" : [ [ "1" , "2" ] ] } "#,
];

/// A line of each kind in each format.
const CAPTURES: [&str; 11] = [
    "1790000000000000001 {\"a\":1}\n1790000000000002 {}\n\n1790000000003 x\r\n12 bad\n",
    "configuration: {}\nwss://fstream.binance.com/stream <-> 1790000000.5\n1790000000.6: {}\nx <- y\n",
    "https://www.binance.com/api/v1/depth?symbol=ABC&limit=5 -> 1790000000.1234567: {\"lastUpdateId\":1}\n1.5:x\n",
    r#"{"t":"header"}
{"t":"recv","ts":1.5,"data":"{\"a\":1}"}
{"t":"recv","ts":1e9,"data":""}
"#,
    "{\"t\":\"http\",\"ts\":2,\"url\":\"https://dapi.binance.com/dapi/v1/depth?symbol=A\",\"data\":\"{}\"}\n",
    r#"{"t":"connect","conn":"a.1","ts":1,"addr":"wss://stream.bybit.com/v5/public/spot"}
{"t":"recv","conn":"a.1","ts":1.5,"data":"{}"}
"#,
    "side,price,size\nbuy,1.5,2\nsell,1.6,3.0000000000000004\n",
    "side,price,size,time\nbuy,1.5,0.0,2020-01-02T03:04:05.100Z\nsell,1.7,1e-05,2020-01-02T03:04:05.100Z\n",
    "1600000020000,1.5,1.75,1.25,1.5,10.5,1600000079999,15,12,4.5,6,0\n",
    "Symbol,Date,Funding Rate\nABC-USDT,2020-01-01 03:00:00.000,-0.0001\n",
    "1430000000000 order_created {\"price\": \"1\", \"amount\": \"2\", \"id\": 1, \"order_type\": 0}\n1430000000001 trade {}\n",
];

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(name), bytes)
}

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("usage: seeds FOLDER");
    let folder = Path::new(&folder);
    let decode = folder.join("decode_binance");
    for golden in frames::golden() {
        for (form, text) in golden.forms().into_iter().enumerate() {
            let name = golden.name.replace([' ', ','], "-");
            write(&decode, &format!("seed-{name}-{form}"), &[&[golden.venue as u8], text.as_bytes()].concat())?;
        }
    }
    for (index, text) in ODD.iter().enumerate() {
        for venue in [Venue::BinanceSpot, Venue::BinanceUsdm, Venue::BinanceCoinm] {
            write(&decode, &format!("seed-odd-{index}-{venue}"), &[&[venue as u8], text.as_bytes()].concat())?;
        }
    }
    for stream in streams::streams() {
        // `bitget-usdt` and its kin are one target.
        let target = stream.venue.name().split('-').next().unwrap_or_default();
        let name = format!("seed-{}", stream.name.replace([' ', ','], "-"));
        write(&folder.join(format!("decode_{target}")), &name, stream.frame.as_bytes())?;
    }
    for (index, text) in CAPTURES.iter().enumerate() {
        write(&folder.join("capture_line"), &format!("seed-{index}"), text.as_bytes())?;
    }
    for (target, seeds) in transport::seeds() {
        for (index, bytes) in seeds.iter().enumerate() {
            write(&folder.join(target), &format!("seed-{index}"), bytes)?;
        }
    }
    Ok(())
}
