//! One transform, four ways. Each takes a packed batch and gives a packed batch.

use std::{hint::black_box, path::PathBuf, sync::Arc};

use crossdock::{
    engine::{
        batch::{Batch, Builder, Form, Record},
        stage::{Opener, Output, Transformer},
    },
    plugin::{Grants, Limits, NoHttp, NoTables, Plugin, Runtime, RuntimeOptions, StageContext},
};
use crossdock_sdk::__private::{
    Slot,
    bindings::{
        host::crossdock::plugin::plugin_types as wit,
        transformer::exports::crossdock::plugin::transformer,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Failure, Places, by_value, cpu, products,
    reshape::Reshape,
    unguarded::{Unguarded, World},
};

/// Written into every record.
const SOURCE: &str = "erp";

/// Who does it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// Native code over `serde_json::Value`.
    Value,
    /// The plugin's code, compiled natively.
    Native,
    /// The plugin, in its sandbox.
    Component,
    /// The plugin without limits, accounting and interruption.
    Bare,
    /// The same with code that can be interrupted.
    Epochs,
}

/// One size of records.
pub(crate) struct Bench {
    bytes: usize,
    batch: Batch,
    slot: Slot<Reshape>,
    component: Box<dyn Transformer>,
    bare: Box<dyn Transformer>,
    epochs: Box<dyn Transformer>,
}

impl Bench {
    /// The bench for records of this size, made when the last one was for another.
    pub(crate) async fn get<'a>(
        kept: &'a mut Option<Self>,
        places: &Places,
        bytes: usize,
    ) -> Result<&'a mut Self, Failure> {
        let bench = match kept.take() {
            Some(bench) if bench.bytes == bytes => bench,
            _ => Self::new(places, bytes).await?,
        };
        Ok(kept.insert(bench))
    }

    async fn new(places: &Places, bytes: usize) -> Result<Self, Failure> {
        let config = json!({ "source": SOURCE });
        let mut slot = Slot::new();
        slot.transformer_open(&config.to_string(), None)
            .map_err(|fault| format!("{fault:?}"))?;
        let path = places.plugin("reshape");
        let plugin = runtime(places)?.load(&path).await?;
        let component = opener(&plugin, config.clone())?.open(None).await?;
        let mut builder = Builder::new("products", Form::Json);
        for number in 0..products::BATCH {
            let payload = products::product(number, bytes);
            builder.push(Record {
                key: format!("SKU-{number:07}").as_bytes(),
                headers: b"",
                payload: payload.as_bytes(),
                flags: 0,
            });
        }
        let batch = builder.build();
        let code = std::fs::read(path)?;
        Ok(Self {
            bytes,
            slot,
            component,
            bare: unguarded(&code, &config, false).await?,
            epochs: unguarded(&code, &config, true).await?,
            batch,
        })
    }

    /// Transforms so many batches.
    pub(crate) async fn run(&mut self, by: By, batches: usize) -> Result<Value, Failure> {
        let mut records = 0;
        let started = cpu();
        for _ in 0..batches {
            records += black_box(self.once(by).await?).len();
        }
        let spent = cpu() - started;
        Ok(json!({ "nanos": spent, "records": records }))
    }

    /// What comes out of one batch.
    pub(crate) async fn output(&mut self, by: By) -> Result<Value, Failure> {
        let batch = self.once(by).await?;
        let values: Result<Vec<Value>, _> = batch
            .records()
            .map(|record| serde_json::from_slice(record.payload))
            .collect();
        Ok(json!({ "output": values?, "bytes": self.batch.data().len() }))
    }

    async fn once(&mut self, by: By) -> Result<Batch, Failure> {
        match by {
            By::Value => by_values(&self.batch),
            By::Native => natively(&mut self.slot, &self.batch),
            By::Component => replaced(&mut *self.component, &self.batch).await,
            By::Bare => replaced(&mut *self.bare, &self.batch).await,
            By::Epochs => replaced(&mut *self.epochs, &self.batch).await,
        }
    }
}

fn by_values(batch: &Batch) -> Result<Batch, Failure> {
    let mut index = Vec::with_capacity(batch.index().len());
    let mut data = Vec::with_capacity(batch.data().len() * 5 / 4);
    let end = |data: &Vec<u8>| u32::try_from(data.len());
    for (at, record) in batch.records().enumerate() {
        data.extend_from_slice(record.key);
        index.extend([end(&data)?, end(&data)?]);
        by_value::reshape(record.payload, SOURCE, &mut data)?;
        index.extend([end(&data)?, u32::try_from(at)? << 8]);
    }
    Ok(Batch::new(
        Arc::clone(batch.stream()),
        batch.form(),
        index,
        data,
    )?)
}

/// As in the sandbox: the batch is copied in, and what comes out is checked.
fn natively(slot: &mut Slot<Reshape>, batch: &Batch) -> Result<Batch, Failure> {
    let input = wit::Batch {
        stream: batch.stream().to_string(),
        form: wit::Form::Json,
        index: batch.index().to_vec(),
        data: batch.data().to_vec(),
    };
    let applied = slot
        .transformer_apply(input)
        .map_err(|fault| format!("{fault:?}"))?;
    match applied.output {
        transformer::Output::Replace(batches) => {
            let batches: Result<_, _> = batches
                .into_iter()
                .map(|batch| Batch::new(batch.stream, Form::Json, batch.index, batch.data))
                .collect();
            only(batches?)
        }
        other => Err(format!("the native code gave {other:?}").into()),
    }
}

/// What a component makes of it.
async fn replaced(component: &mut dyn Transformer, batch: &Batch) -> Result<Batch, Failure> {
    match component.apply(batch).await?.output {
        Output::Replace(batches) => only(batches),
        other => Err(format!("the component gave {other:?}").into()),
    }
}

/// An instance without a sandbox around it.
async fn unguarded(
    code: &[u8],
    config: &Value,
    epochs: bool,
) -> Result<Box<dyn Transformer>, Failure> {
    let world = World {
        tables: Arc::new(NoTables),
        http: None,
        folders: Vec::new(),
    };
    let plugin = Unguarded::new(epochs)?.load(code)?;
    Ok(plugin.transformer(config, world).open(None).await?)
}

fn only(mut batches: Vec<Batch>) -> Result<Batch, Failure> {
    match (batches.pop(), batches.is_empty()) {
        (Some(batch), true) => Ok(batch),
        _ => Err("more or less than one batch came out".into()),
    }
}

/// A runtime as the program has it.
pub(crate) fn runtime(places: &Places) -> Result<Runtime, Failure> {
    Ok(Runtime::new(&RuntimeOptions {
        cache_dir: Some(places.cache.clone()),
        ..RuntimeOptions::default()
    })?)
}

/// Makes instances as a run does.
pub(crate) fn opener(
    plugin: &Arc<Plugin>,
    config: Value,
) -> Result<Arc<dyn Opener<dyn Transformer>>, Failure> {
    Ok(plugin.transformer(context(config))?)
}

/// A stage with nothing granted and the usual limits.
pub(crate) fn context(config: Value) -> StageContext {
    StageContext {
        flow: Arc::from("bench"),
        stage: Arc::from("bench"),
        config,
        grants: Grants::default(),
        limits: Limits::default(),
        tables: Arc::new(NoTables),
        http: Arc::new(NoHttp),
        project_dir: PathBuf::from("."),
        recording: None,
    }
}
