//! From spools to finished files, and from finished files to their place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crossdock_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::attribute::{ATTRIBUTES, Attributes, KEY_FILE, MANAGEMENT_FILE, VALUES};
use crate::category;
use crate::config::{Config, Unresolved};
use crate::import;
use crate::row::Row;
use crate::sheet::{SHEETS, Sheet};
use crate::spool::Spool;
use crate::survivor::{Keys, Survey, survey};

const BUFFER: usize = 256 * 1024;
/// Unresolved references that a message shows.
const EXAMPLES: usize = 10;

/// The spools of a run, by stream.
pub(crate) type Spools = BTreeMap<&'static str, Spool>;

/// A finished file that waits for its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Its name.
    pub(crate) file: String,
    /// Rows without the header.
    pub(crate) rows: u64,
}

/// Says of an operation on the disk where it failed, and whose turn it is: the operator's (a missing folder, no right), or
/// time's (a full disk).
pub(crate) fn disk(path: &Path) -> impl Fn(io::Error) -> Fault {
    move |error| {
        let message = format!("cannot write to `{}`: {error}", path.display());
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Fault::config(message).field("/directory").advice(
                    "the work folder was changed by somebody else: run the flow from its start",
                )
            }
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::Unsupported => Fault::config(message).field("/directory").advice(
                "the folder must exist or be creatable, and be granted for writing \
                     (`grants: {files: {write: [...]}}`)",
            ),
            // In the sandbox a full disk is an "I/O error" without a kind.
            _ => Fault::transient(message).advice("is the disk full, or the folder read-only?"),
        }
    }
}

/// Writes the finished files into the folder of finished files.
pub(crate) fn finish(config: &Config, spools: &mut Spools) -> Result<Vec<Ready>> {
    let folder = config.ready();
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(disk(&folder))?;
    }
    fs::create_dir_all(&folder).map_err(disk(&folder))?;
    let mut press = Press {
        config,
        ready: Vec::new(),
        actions: Vec::new(),
        keys: BTreeMap::new(),
        problems: Vec::new(),
    };
    for sheet in &SHEETS {
        if sheet.stream == "abstracts" {
            press.attributes(spools)?;
        }
        if let Some(spool) = spools.get_mut(sheet.stream) {
            press.sheet(sheet, spool)?;
        }
    }
    press.complain()?;
    if let (Some(name), false) = (&config.import_yaml, press.actions.is_empty()) {
        let text = import::yaml(&press.actions);
        press.put(name, text.as_bytes(), press.actions.len() as u64)?;
    }
    Ok(press.ready)
}

/// The files that are the sink's by name: each set replaces all of them, so that a folder never mixes two sets.
fn owned(config: &Config) -> impl Iterator<Item = &str> {
    let sheets = SHEETS.iter().map(|sheet| sheet.file);
    let attributes = [KEY_FILE.0, MANAGEMENT_FILE.0];
    sheets
        .chain(attributes)
        .chain(config.import_yaml.as_deref())
}

/// Moves finished files to their place and removes those of an earlier set that this one does not have. A set without
/// any file changes nothing. May be called again after a crash at any point: what is moved is moved, what is gone is
/// gone, and the work folder goes last.
pub(crate) fn publish(config: &Config, ready: &[Ready]) -> Result<()> {
    let (work, folder) = (config.work(), config.ready());
    if folder.exists() {
        for file in ready {
            let (from, to) = (folder.join(&file.file), config.output().join(&file.file));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => {}
                outcome => outcome.map_err(disk(&to))?,
            }
        }
        remove_earlier(config, ready)?;
        // From here on all is in place, whatever becomes of it there.
        fs::remove_dir_all(&folder).map_err(disk(&folder))?;
    }
    if work.exists() {
        fs::remove_dir_all(&work).map_err(disk(&work))?;
    }
    Ok(())
}

/// Removes the files of an earlier set that this one, unless it is empty, does not have.
fn remove_earlier(config: &Config, ready: &[Ready]) -> Result<()> {
    if ready.is_empty() {
        return Ok(());
    }
    for name in owned(config).filter(|name| ready.iter().all(|file| file.file != **name)) {
        let path = config.output().join(name);
        // A folder of that name is nothing that a set has written.
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(&path).map_err(disk(&path))?;
            info!("{name}: removed, it was of an earlier set");
        }
    }
    Ok(())
}

/// What is known while files are written one after the other.
struct Press<'c> {
    config: &'c Config,
    ready: Vec<Ready>,
    actions: Vec<(&'static str, String)>,
    /// Keys of what other files refer to.
    keys: BTreeMap<&'static str, Keys>,
    problems: Vec<Problem>,
}

/// Rows of a file that refer to something that never came.
#[derive(Debug)]
struct Problem {
    stream: &'static str,
    target: &'static str,
    count: u64,
    examples: Vec<String>,
}

/// The stream that a sheet's reference leads to. Parents of categories are another matter.
fn target(sheet: &Sheet) -> Option<&'static str> {
    match sheet.stream {
        "category-stores" | "abstracts" => Some("categories"),
        "approval-statuses" | "abstract-stores" | "concretes" => Some("abstracts"),
        "stocks" => Some("concretes"),
        _ => None,
    }
}

impl Press<'_> {
    fn sheet(&mut self, sheet: &'static Sheet, spool: &mut Spool) -> Result<()> {
        let path = self.config.ready().join(sheet.file);
        let survey = survey(spool).map_err(disk(&path))?;
        if survey.rows == 0 {
            return Ok(());
        }
        note_replaced(sheet.stream, &survey);
        let mut out = BufWriter::with_capacity(BUFFER, File::create(&path).map_err(disk(&path))?);
        let (plain, localised) = (survey.plain_pairs as usize, survey.localised_pairs as usize);
        let mut header = sheet.header(self.config);
        header.extend(Sheet::pair_header(self.config, plain, localised));
        let mut line = Vec::new();
        crate::attribute::line(&mut line, header.iter().map(String::as_str));
        out.write_all(&line).map_err(disk(&path))?;
        if sheet.stream == "categories" {
            self.categories(spool, &survey, &mut out, &path)?;
        } else {
            self.rows(sheet, spool, &survey, &mut out, &path)?;
        }
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_data())
            .map_err(disk(&path))?;
        self.ready.push(Ready {
            file: sheet.file.to_owned(),
            rows: survey.rows,
        });
        self.act(sheet.entity, sheet.file);
        if matches!(sheet.stream, "categories" | "abstracts" | "concretes") {
            self.keys.insert(sheet.stream, survey.keys);
        }
        Ok(())
    }

    fn rows(
        &mut self,
        sheet: &Sheet,
        spool: &mut Spool,
        survey: &Survey,
        out: &mut impl Write,
        path: &Path,
    ) -> Result<()> {
        let known = target(sheet).and_then(|target| Some((target, self.keys.get(target)?)));
        let mut problem: Option<Problem> = None;
        let locales = self.config.locales.len();
        let mut survivors = survey.survivors();
        let mut rows = spool.rows().map_err(disk(path))?;
        let mut row = Row::default();
        while rows.next(&mut row).map_err(disk(path))? {
            if !survivors.keeps(&row.key) {
                continue;
            }
            let padding = 2 * ((survey.plain_pairs - row.plain_pairs) as usize);
            let localised_padding =
                2 * locales * ((survey.localised_pairs - row.localised_pairs) as usize);
            out.write_all(&row.fixed)
                .and_then(|()| out.write_all(&row.plain))
                .and_then(|()| commas(out, padding))
                .and_then(|()| out.write_all(&row.localised))
                .and_then(|()| commas(out, localised_padding))
                .and_then(|()| out.write_all(b"\n"))
                .map_err(disk(path))?;
            if let Some((target, keys)) = known.filter(|(_, keys)| !keys.is_empty()) {
                // Only categories are a list: a SKU may have a comma in it, and never this.
                let separator = match sheet.refers {
                    Some("categories") => ',',
                    _ => '\u{1f}',
                };
                for missing in row
                    .refers
                    .split(separator)
                    .filter(|key| !key.is_empty() && !self.is_known(target, keys, key))
                {
                    let found = problem.get_or_insert_with(|| Problem {
                        stream: sheet.stream,
                        target,
                        count: 0,
                        examples: Vec::new(),
                    });
                    found.add(&row.key, missing);
                }
            }
        }
        self.problems.extend(problem);
        Ok(())
    }

    fn is_known(&self, target: &str, keys: &Keys, key: &str) -> bool {
        keys.contains(key)
            || (target == "categories"
                && self
                    .config
                    .known_categories
                    .iter()
                    .any(|known| known == key))
    }

    /// Categories in the order of their tree.
    fn categories(
        &self,
        spool: &mut Spool,
        survey: &Survey,
        out: &mut impl Write,
        path: &Path,
    ) -> Result<()> {
        let mut survivors = survey.survivors();
        let mut rows = spool.rows().map_err(disk(path))?;
        let (mut tree, mut lines, mut row) = (Vec::new(), Vec::new(), Row::default());
        while rows.next(&mut row).map_err(disk(path))? {
            if survivors.keeps(&row.key) {
                tree.push((
                    std::mem::take(&mut row.key),
                    std::mem::take(&mut row.refers),
                ));
                lines.push(std::mem::take(&mut row.fixed));
            }
        }
        for at in category::resolve(&mut tree) {
            if let (Some((key, parent)), Some(line)) = (tree.get(at), lines.get_mut(at)) {
                *line = with_parent(line, key, parent);
            }
        }
        let order = category::order(&tree, &self.config.known_categories).map_err(|error| {
            let fault = Fault::permanent(error.to_string()).at(path.display().to_string());
            match error {
                category::OrderError::MissingParent(_) => {
                    fault.advice("read them too, or list them in the sink's `known-categories` if the shop has them")
                }
                category::OrderError::Cycle(_) => fault.advice("correct their parents where they come from"),
            }
        })?;
        for line in order.iter().filter_map(|at| lines.get(*at)) {
            out.write_all(line)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(disk(path))?;
        }
        Ok(())
    }

    /// Both files of attributes.
    fn attributes(&mut self, spools: &mut Spools) -> Result<()> {
        let mut attributes = Attributes::default();
        let mut lost: Option<Problem> = None;
        for stream in [ATTRIBUTES, VALUES] {
            let Some(spool) = spools.get_mut(stream) else {
                continue;
            };
            let path = self.config.work();
            let survey = survey(spool).map_err(disk(&path))?;
            note_replaced(stream, &survey);
            let mut survivors = survey.survivors();
            let mut rows = spool.rows().map_err(disk(&path))?;
            let mut row = Row::default();
            while rows.next(&mut row).map_err(disk(&path))? {
                if !survivors.keeps(&row.key) {
                    continue;
                }
                if stream == ATTRIBUTES {
                    attributes.add(&row)?;
                } else if !attributes.add_value(&row)? {
                    let found = lost.get_or_insert_with(|| Problem {
                        stream: VALUES,
                        target: ATTRIBUTES,
                        count: 0,
                        examples: Vec::new(),
                    });
                    found.add(&row.key.replace('\u{1f}', "."), &row.refers);
                }
            }
        }
        self.problems.extend(lost);
        if attributes.len() > 0 {
            let rows = attributes.len() as u64;
            self.put(KEY_FILE.0, &attributes.key_file(), rows)?;
            self.act(KEY_FILE.1, KEY_FILE.0);
            self.put(
                MANAGEMENT_FILE.0,
                &attributes.management_file(self.config),
                rows,
            )?;
            self.act(MANAGEMENT_FILE.1, MANAGEMENT_FILE.0);
        }
        Ok(())
    }

    /// Writes a small file at once.
    fn put(&mut self, name: &str, bytes: &[u8], rows: u64) -> Result<()> {
        let path = self.config.ready().join(name);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_data()
        };
        write().map_err(disk(&path))?;
        self.ready.push(Ready {
            file: name.to_owned(),
            rows,
        });
        Ok(())
    }

    fn act(&mut self, entity: &'static str, file: &str) {
        let folder = self
            .config
            .import_path
            .as_deref()
            .unwrap_or(&self.config.directory);
        self.actions
            .push((entity, format!("{}/{file}", folder.trim_end_matches('/'))));
    }

    /// Reports references that lead nowhere. The rows are in the files: nothing is dropped.
    fn complain(&self) -> Result<()> {
        let text = |problem: &Problem| {
            let rest = problem.count.saturating_sub(problem.examples.len() as u64);
            let more = if rest > 0 {
                format!(" and {rest} more")
            } else {
                String::new()
            };
            format!(
                "{} of {} refer to {} that never came: {}{more}",
                problem.count,
                problem.stream,
                problem.target,
                problem.examples.join(", ")
            )
        };
        for problem in &self.problems {
            metrics::count("unresolved_references", problem.count);
            warn!("{}", text(problem));
        }
        match self.problems.first() {
            Some(problem) if self.config.unresolved == Unresolved::Fail => {
                Err(Fault::permanent(text(problem))
                    .advice("`unresolved: warn` would write them all the same"))
            }
            _ => Ok(()),
        }
    }
}

impl Problem {
    fn add(&mut self, key: &str, missing: &str) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{key} (to {missing})"));
        }
    }
}

/// A line of categories with another parent. Key and parent are its first cells.
fn with_parent(line: &[u8], key: &str, parent: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    crate::cell::push(&mut out, key);
    out.push(b',');
    crate::cell::push(&mut out, parent);
    let rest = csv_rest(line, 2);
    out.extend_from_slice(rest);
    out
}

/// What comes behind the first `cells` of a line, separator included.
fn csv_rest(line: &[u8], mut cells: usize) -> &[u8] {
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                cells -= 1;
                if cells == 0 {
                    return line.get(at..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    &[]
}

fn note_replaced(stream: &str, survey: &Survey) {
    let count = survey.replaced();
    if count > 0 {
        info!("{count} rows of {stream} were replaced by later ones with the same key");
    }
}

fn commas(out: &mut impl Write, mut count: usize) -> io::Result<()> {
    const MANY: &[u8] = &[b','; 64];
    while count > 0 {
        let some = count.min(MANY.len());
        out.write_all(MANY.get(..some).unwrap_or_default())?;
        count -= some;
    }
    Ok(())
}
