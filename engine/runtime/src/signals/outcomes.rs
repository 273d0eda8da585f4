//! Outcomes of signals as Parquet files: what models are trained on.
//!
//! One row a LONG or SHORT signal whose timer was seen to its end: its row as models read it, what was stated, and what
//! became of it. A file is written whole and never changed; its name ends with the event time of its newest outcome.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use tidegate_market::signals::{SIGNAL_COLUMNS, signal_row, signals_schema_hash_hex};
use tidegate_sidecar::contract::Label;
use tidegate_trade::signals::rating::{ModelSaid, Rating};
use tidegate_wire::signal::{FLAG_REFERENCE_SIMULATED, OutcomeBody, SideOutcome, SignalBody};

/// Folder of the files, below the output directory.
pub const OUTCOMES: &str = "data/outcomes";
/// Key of the metadata that names the schema of signals.
const SCHEMA_KEY: &str = "tidegate.signals.schema";
/// Rows kept while nothing can be written; the oldest go first then, and are counted.
const PENDING_MAX: usize = 100_000;

/// A table that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutcomesError {
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Parquet.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// Columns of uneven length.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

struct Row {
    signal: SignalBody,
    coin: String,
    instrument: String,
    rating: Option<Rating>,
    side: SideOutcome,
    long_bp: f64,
    short_bp: f64,
}

impl Row {
    fn formula(&self) -> f64 {
        self.rating.as_ref().map_or(self.signal.confidence, |rating| rating.formula)
    }

    fn champion(&self) -> Option<&ModelSaid> {
        self.rating.as_ref()?.champion.as_ref()
    }

    fn challenger(&self) -> Option<&ModelSaid> {
        self.rating.as_ref()?.challenger.as_ref()
    }
}

/// Outcomes on their way to a file.
pub(super) struct OutcomeTable {
    directory: PathBuf,
    pending: Vec<Row>,
    /// Rows that were given up.
    lost: u64,
    newest_ns: i64,
    /// What `reached` means.
    label: Label,
}

impl OutcomeTable {
    /// A table below this folder, which is made.
    pub(super) fn open(directory: &Path, label: Label) -> std::io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), pending: Vec::new(), lost: 0, newest_ns: 0, label })
    }

    /// Where the files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Rows that were given up because they could not be written.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Rows that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.pending.len() as u64
    }

    /// What became of a signal; only what was seen to its end is kept. `signal` is the signal as it acted.
    pub(super) fn add(
        &mut self,
        signal: &SignalBody,
        rating: Option<&Rating>,
        (coin, instrument): (&str, &str),
        outcome: &OutcomeBody,
    ) {
        let Some(side) = outcome.side(signal.action()).filter(|_| outcome.complete == 1) else { return };
        if self.pending.len() >= PENDING_MAX {
            self.pending.remove(0);
            self.lost += 1;
        }
        self.newest_ns = self.newest_ns.max(signal.timer_end_ns);
        self.pending.push(Row {
            signal: *signal,
            coin: coin.to_owned(),
            instrument: instrument.to_owned(),
            rating: rating.cloned(),
            side: *side,
            long_bp: outcome.long.final_bp,
            short_bp: outcome.short.final_bp,
        });
    }

    /// Writes what waits into a new file. What cannot be written waits for the next time.
    pub(super) fn write(&mut self) -> Result<(), OutcomesError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // Outcomes of one timer may come in two files, and of a run that was begun anew at the same time: none replaces
        // another one.
        let name = (0..).map(|part| match part {
            0 => format!("outcomes-{}.parquet", self.newest_ns),
            part => format!("outcomes-{}-{part}.parquet", self.newest_ns),
        });
        let Some(name) = name.into_iter().find(|name| !self.directory.join(name).exists()) else { return Ok(()) };
        let hidden = self.directory.join(format!(".{name}.tmp"));
        let written = write_file(&hidden, &self.pending, &self.label).and_then(|()| {
            std::fs::rename(&hidden, self.directory.join(name))?;
            Ok(File::open(&self.directory)?.sync_all()?)
        });
        match written {
            Ok(()) => self.pending.clear(),
            // Half a file is of no use to anybody.
            Err(_) => std::fs::remove_file(&hidden).unwrap_or_default(),
        }
        written
    }
}

fn write_file(path: &Path, rows: &[Row], label: &Label) -> Result<(), OutcomesError> {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns(rows, label).into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let metadata = KeyValue::new(SCHEMA_KEY.into(), signals_schema_hash_hex());
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_key_value_metadata(Some(vec![metadata]))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema, Some(properties))?;
    writer.write(&batch)?;
    writer.into_inner()?.sync_all()?;
    Ok(())
}

fn columns(rows: &[Row], label: &Label) -> Vec<(Field, ArrayRef)> {
    let field = |name: &str, kind: DataType, nullable: bool| Field::new(name, kind, nullable);
    let whole = |name: &str, value: fn(&Row) -> i64| {
        let array = Int64Array::from_iter_values(rows.iter().map(value));
        (field(name, DataType::Int64, false), Arc::new(array) as ArrayRef)
    };
    let text = |name: &str, value: fn(&Row) -> &str| {
        let array = StringArray::from_iter_values(rows.iter().map(value));
        (field(name, DataType::Utf8, false), Arc::new(array) as ArrayRef)
    };
    let flag = |name: &str, value: fn(&Row) -> bool| {
        let array = BooleanArray::from(rows.iter().map(value).collect::<Vec<_>>());
        (field(name, DataType::Boolean, false), Arc::new(array) as ArrayRef)
    };
    let float = |name: &str, value: fn(&Row) -> f64| {
        let array = Float64Array::from_iter_values(rows.iter().map(value));
        (field(name, DataType::Float64, false), Arc::new(array) as ArrayRef)
    };
    let version = |name: &str, said: fn(&Row) -> Option<&ModelSaid>| {
        let array: UInt32Array = rows.iter().map(|row| said(row).map(|said| said.version)).collect();
        (field(name, DataType::UInt32, true), Arc::new(array) as ArrayRef)
    };
    let probability = |name: &str, said: fn(&Row) -> Option<&ModelSaid>| {
        let array: Float64Array = rows.iter().map(|row| said(row).map(|said| said.probability)).collect();
        (field(name, DataType::Float64, true), Arc::new(array) as ArrayRef)
    };
    let sequence = UInt64Array::from_iter_values(rows.iter().map(|row| row.signal.sequence));
    let mut columns = vec![
        whole("event_ns", |row| row.signal.event_ns),
        whole("timer_end_ns", |row| row.signal.timer_end_ns),
        (field("sequence", DataType::UInt64, false), Arc::new(sequence) as ArrayRef),
        text("coin", |row| &row.coin),
        text("instrument", |row| &row.instrument),
        text("action", |row| row.signal.action().name()),
        text("window", |row| row.signal.window().name()),
        flag("reference_simulated", |row| row.signal.has(FLAG_REFERENCE_SIMULATED)),
    ];
    let known: Vec<_> =
        rows.iter().map(|row| signal_row(&SignalBody { confidence: row.formula(), ..row.signal })).collect();
    for (place, column) in SIGNAL_COLUMNS.iter().enumerate() {
        let array: Float64Array = known.iter().map(|row| row[place]).collect();
        columns.push((field(column.name, DataType::Float64, true), Arc::new(array)));
    }
    let same = |name: &str, value: f64| {
        let array = Float64Array::from_iter_values(rows.iter().map(|_| value));
        (field(name, DataType::Float64, false), Arc::new(array) as ArrayRef)
    };
    columns.extend([
        same("target_bp", label.target_bp),
        same("fee_bp", label.fee_bp),
        same("timer_minutes", f64::from(label.timer_minutes)),
        flag("reached", |row| row.side.reached_ns != 0),
        float("final_bp", |row| row.side.final_bp),
        float("long_bp", |row| row.long_bp),
        float("short_bp", |row| row.short_bp),
        version("champion_version", Row::champion),
        probability("champion", Row::champion),
        version("challenger_version", Row::challenger),
        probability("challenger", Row::challenger),
        float("stated", |row| row.signal.confidence),
    ]);
    columns
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use tidegate_wire::signal::Action;

    use super::*;

    const LABEL: Label = Label { target_bp: 10.0, fee_bp: 5.0, timer_minutes: 10 };

    fn add(table: &mut OutcomeTable, sequence: u64, complete: u64) {
        let signal = SignalBody {
            sequence,
            action: Action::Short as u8,
            timer_end_ns: 600 + sequence as i64,
            confidence: 0.4,
            ..SignalBody::zeroed()
        };
        table.add(&signal, None, ("BTC", "BTCUSDT.binance-usdm"), &OutcomeBody { complete, ..OutcomeBody::default() });
    }

    #[test]
    fn files_are_whole_and_hold_what_was_seen_to_its_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut table = OutcomeTable::open(&directory.path().join("out"), LABEL).expect("made");
        table.write().expect("nothing to write");
        (1..=5).for_each(|sequence| add(&mut table, sequence, sequence % 2));
        table.write().expect("written");
        table.write().expect("nothing more");
        add(&mut table, 5, 1);
        table.write().expect("none is replaced");
        let names: Vec<_> = std::fs::read_dir(table.directory()).expect("there").flatten().collect();
        assert_eq!(names.len(), 2);
        let path = table.directory().join("outcomes-605.parquet");
        let reader = SerializedFileReader::new(File::open(path).expect("open")).expect("Parquet");
        let file = reader.metadata().file_metadata();
        assert_eq!((file.num_rows(), file.schema_descr().num_columns()), (3, 8 + SIGNAL_COLUMNS.len() + 12));
        let bound = file.key_value_metadata().into_iter().flatten().find(|pair| pair.key == SCHEMA_KEY);
        assert_eq!(bound.and_then(|pair| pair.value.clone()), Some(signals_schema_hash_hex()));
    }

    #[test]
    fn what_cannot_be_written_waits() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut table = OutcomeTable::open(directory.path(), LABEL).expect("there");
        add(&mut table, 1, 1);
        table.directory = directory.path().join("gone");
        assert!(table.write().is_err());
        table.directory = directory.path().to_owned();
        table.write().expect("there is room again");
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 1);
    }
}
