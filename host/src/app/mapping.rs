//! One mapping on sample records, by the mapper component itself.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde_json::json;

use super::{AppError, Project};
use crate::{
    catalogue::{Installed, Locator},
    engine::{
        batch::{Batch, Builder, Form, Op, Record},
        fault::Fault,
        stage::{Applied, Opener, Output, Transformer},
        tables::MemoryTables,
    },
    plugin::{Grants, Limits, NoHttp, StageContext},
};

/// What a mapping is tried with.
#[derive(Debug, Clone)]
pub struct MapOptions {
    /// The mapper: a name or a path.
    pub plugin: String,
    /// Folders in which it is looked up.
    pub plugin_dirs: Vec<PathBuf>,
    /// The folder of the project: what is installed there is found by name.
    pub project: PathBuf,
    /// The mapping's file.
    pub mapping: PathBuf,
    /// Tables that the mapping may read, by name.
    pub tables: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The stream that the records are of.
    pub stream: String,
}

/// A mapping that records can be given to.
pub struct MapTest {
    transformer: Box<dyn Transformer>,
    tables: Arc<MemoryTables>,
    stream: Arc<str>,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// The records it became.
    pub outputs: Vec<MappedRecord>,
    /// Why it failed, if it did.
    pub fault: Option<Fault>,
    /// Why it was filtered, if it was.
    pub filtered: Vec<String>,
}

/// One record that came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRecord {
    /// Its stream.
    pub stream: String,
    /// Its key.
    pub key: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Whether it asks for a delete.
    pub delete: bool,
}

impl MapTest {
    /// Compiles the mapping. A mistake in it is a finding with its line.
    pub async fn open(options: MapOptions) -> Result<Self, AppError> {
        let text = std::fs::read_to_string(&options.mapping).map_err(|source| AppError::Read {
            path: options.mapping.clone(),
            source,
        })?;
        let state = options.project.join(".crossdock");
        let (located, _) = Locator::new(".", options.plugin_dirs)
            .with_installed(Installed::of(&options.project, &state))
            .open(&options.plugin)?;
        let tables = Arc::new(MemoryTables::new(options.tables));
        let plugin = Project::runtime()?.load(&located.path).await?;
        let opener: Arc<dyn Opener<dyn Transformer>> = plugin.transformer(StageContext {
            flow: "map-test".into(),
            stage: "map".into(),
            config: json!({ "mapping": { "name": options.mapping.display().to_string(), "text": text } }),
            grants: Grants { tables: vec!["*".into()], ..Grants::default() },
            limits: Limits::default(),
            tables: Arc::clone(&tables) as _,
            http: Arc::new(NoHttp),
            project_dir: PathBuf::from("."),
            recording: None,
        })?;
        let transformer = opener.open(None).await.map_err(|fault| {
            let mut found = crate::flow::Finding::error("map", fault.message.clone());
            if !fault.location.is_empty() {
                found.message = format!("{}: {}", fault.location, found.message);
            }
            AppError::Findings(vec![found.advice(fault.advice)])
        })?;
        Ok(Self {
            transformer,
            tables,
            stream: options.stream.into(),
        })
    }

    /// Maps one record.
    pub async fn apply(&mut self, record: &[u8]) -> Result<Mapped, AppError> {
        let mut builder = Builder::new(Arc::clone(&self.stream), Form::Json);
        builder.push(Record {
            key: b"",
            headers: b"",
            payload: record,
            flags: 0,
        });
        let batch = builder.build();
        let applied = match self.transformer.apply(&batch).await {
            Ok(applied) => applied,
            Err(fault) => {
                return Ok(Mapped {
                    outputs: Vec::new(),
                    fault: Some(fault),
                    filtered: Vec::new(),
                });
            }
        };
        self.tables.write(self.transformer.take_table_writes());
        Ok(mapped(&batch, applied))
    }
}

fn mapped(batch: &Batch, applied: Applied) -> Mapped {
    let rejected = !applied.rejected.is_empty();
    let batches = match applied.output {
        Output::Pass if rejected => Vec::new(),
        Output::Pass => vec![batch.clone()],
        Output::Select(indexes) => batch.select(&indexes).into_iter().collect(),
        Output::Replace(batches) => batches,
    };
    let outputs = batches
        .iter()
        .flat_map(|batch| {
            batch
                .records()
                .map(|record| (batch.stream().to_string(), record))
        })
        .map(|(stream, record)| MappedRecord {
            stream,
            key: String::from_utf8_lossy(record.key).into_owned(),
            payload: record.payload.to_vec(),
            delete: record.op() == Op::Delete,
        })
        .collect();
    Mapped {
        outputs,
        fault: applied
            .rejected
            .into_iter()
            .next()
            .map(|rejection| rejection.fault),
        filtered: applied
            .filtered
            .into_iter()
            .map(|tally| tally.reason)
            .collect(),
    }
}
