//! The composition root: the only file that knows every module.
#![allow(missing_docs, unused, clippy::all, clippy::pedantic)]
use std::{collections::BTreeMap, path::{Path, PathBuf}};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
pub use crate::engine::{run::{Progress, StageProgress, Phase}, delivery::{Delivery, Label}, fault::{Fault, FaultKind}};
pub use crate::storage::{StreamCounts, DeadLetter, DeadLetterFilter};
use crate::flow::{Finding, Plan};
pub struct Options { pub flow_file: PathBuf, pub state: Option<PathBuf>, pub plugin_dirs: Vec<PathBuf>, pub variables: BTreeMap<String, String> }
#[derive(Debug, thiserror::Error)]
pub enum AppError { #[error("findings")] Findings(Vec<Finding>), #[error(transparent)] Storage(#[from] crate::storage::StorageError) }
impl AppError { pub fn exit_code(&self) -> u8 { 2 } pub fn findings(&self) -> &[Finding] { match self { Self::Findings(f) => f, _ => &[] } } }
pub struct RunOptions { pub from_start: bool, pub stop: CancellationToken, pub progress: watch::Sender<Progress> }
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "reason")]
pub enum Outcome { Finished, Stopped, Failed(String) }
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary { pub flow: String, pub run: String, #[serde(flatten)] pub outcome: Outcome, pub streams: BTreeMap<String, StreamCounts>, pub filtered: BTreeMap<String, BTreeMap<String, u64>>, pub dead_letters: u64, pub records: u64, pub seconds: f64, pub records_per_second: f64, pub delivery: Delivery, pub state_dir: PathBuf, pub epochs: u64, pub resumed: bool }
pub struct Project { plan: Plan }
impl Project {
    pub fn open(options: &Options) -> Result<Self, AppError> { let p = crate::flow::Plan::load(&options.flow_file, &crate::flow::Variables::new(options.variables.clone())).map_err(AppError::Findings)?; Ok(Self { plan: p.plan }) }
    pub fn plan(&self) -> &Plan { &self.plan }
    pub fn warnings(&self) -> &[Finding] { &[] }
    pub fn state_dir(&self) -> &Path { Path::new("x") }
    pub async fn check(&self, connect: bool) -> Vec<Finding> { vec![] }
    pub async fn run(&self, options: RunOptions) -> Result<RunSummary, AppError> { unimplemented!() }
}
pub fn connection_schema() -> serde_json::Value { serde_json::json!({}) }
pub fn dead_letters(state: &Path, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, AppError> { Ok(crate::storage::Store::open(state)?.dead_letters(filter)?) }
pub fn dead_letter(state: &Path, id: u64) -> Result<Option<DeadLetter>, AppError> { Ok(crate::storage::Store::open(state)?.dead_letter(id)?) }
pub struct MapOptions { pub plugin: String, pub plugin_dirs: Vec<PathBuf>, pub mapping: PathBuf, pub tables: BTreeMap<String, BTreeMap<String, Vec<u8>>>, pub stream: String }
pub struct MapTest;
impl MapTest { pub async fn open(o: MapOptions) -> Result<Self, AppError> { Ok(Self) } pub async fn apply(&mut self, record: &[u8]) -> Result<Mapped, AppError> { unimplemented!() } }
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped { pub outputs: Vec<MappedRecord>, pub fault: Option<Fault>, pub filtered: Vec<String> }
#[derive(Debug, Clone, PartialEq)]
pub struct MappedRecord { pub stream: String, pub key: String, pub payload: Vec<u8>, pub delete: bool }
