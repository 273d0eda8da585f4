//! `tidegate health`: asks the server of a running engine, for supervisors that have no other client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tidegate_feed::transport::rest::{Client, Request};
use tidegate_runtime::config::Config;

use crate::commands::config::{Layering, config_error};
use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

/// Asks the server of a running engine whether it lives; exit code 1 when it does not say so.
///
/// The same configuration as the engine's says where the server is and which certificate is its.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate health --config tidegate.toml           is the process alive?
  tidegate health --ready                          may traffic go to it? books good, no breaker of the engine open
  tidegate health --url https://gate.example.org:8765 --authorities ca.pem")]
pub(crate) struct Args {
    #[command(flatten)]
    layering: Layering,
    /// Ask whether it is ready (`/readyz`), not only whether it lives (`/healthz`)
    #[arg(long)]
    ready: bool,
    /// Where the server is, instead of what the configuration says
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Certificates to trust (PEM), instead of the server's own
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let (url, certificate) = match &args.url {
        Some(url) => (url.clone(), None),
        None => server(&args.layering.gather()?.config().map_err(config_error)?),
    };
    let authorities = args.authorities.clone().or(certificate);
    let client = Client::new(&url, authorities.as_deref(), args.timeout)
        .map_err(|error| failed(Exit::Failure, format!("{error}; the engine makes it when it starts")))?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let request = Request::public(path);
    let hint =
        if args.url.is_none() && url.starts_with("https") { "; --url calls it as its certificate does" } else { "" };
    let answer = client.get(&request).map_err(|error| failed(Exit::Failure, format!("{error}{hint}")))?;
    let said: serde_json::Value = serde_json::from_slice(&answer.body)
        .map_err(|_| failed(Exit::Failure, format!("{url}{path}: no JSON; is that an engine's server?")))?;
    match args.format {
        Format::Json => print_json(&said)?,
        Format::Table if answer.status == 200 => anstream::println!("ok: {url}"),
        Format::Table => anstream::println!("not ok: {}", said["error"].as_str().unwrap_or("no reason given")),
    }
    Ok(if answer.status == 200 { Exit::Ok } else { Exit::Failure })
}

/// Where a configuration's server is to be reached from this host, and its own certificate where it has one.
fn server(config: &Config) -> (String, Option<PathBuf>) {
    let serve = &config.serve;
    let secure = serve.certificate.is_some() || !serve.listen.ip().is_loopback();
    let port = serve.listen.port();
    if secure {
        let own = || config.output.directory.join("serve.crt");
        // A name that every certificate of the server's own has, and that needs no resolver.
        return (format!("https://127.0.0.1:{port}"), Some(serve.certificate.clone().unwrap_or_else(own)));
    }
    let address = match serve.listen.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    (format!("http://{}", SocketAddr::new(address, port)), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_where_the_configuration_says() {
        let mut config = Config::default();
        assert_eq!(server(&config), ("http://127.0.0.1:8765".into(), None));
        config.serve.listen = "0.0.0.0:9".parse().expect("an address");
        assert_eq!(server(&config), ("https://127.0.0.1:9".into(), Some("run/serve.crt".into())));
        config.serve.certificate = Some("a.pem".into());
        assert_eq!(server(&config).1, Some("a.pem".into()));
    }
}
