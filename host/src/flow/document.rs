//! A YAML file on its way to a typed value: places kept, variables replaced, checked against the schema of its type.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    finding::{self, Finding, Location},
    inline, near,
    place::{Mark, Places, child},
    schema,
    variable::{VariableError, Variables, substitute},
    yaml,
};

/// The most bytes that a file of a project may have: people write it.
const MAX_BYTES: u64 = 4 << 20;

/// Areas whose schema `crossdock schema` prints.
pub const SCHEMAS: [&str; 5] = ["flow", "connection", "trust", "registries", "catalogue"];

/// A YAML file, read.
#[derive(Debug, Clone)]
pub struct Document {
    /// What its findings' codes start with.
    area: String,
    folder: PathBuf,
    value: Value,
    places: Arc<Places>,
    findings: Vec<Finding>,
    /// Pointers of values that are wrong already: what the schema says about them adds nothing.
    spoiled: BTreeSet<String>,
    /// Texts that a variable was put into, as they are written, by their pointers.
    varied: BTreeMap<String, String>,
    /// Files whose content was put into the value.
    files: Vec<PathBuf>,
}

/// A typed value and the file that it came from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// The file, to locate what else is wrong with the value.
    pub document: Document,
}

/// Reads a file as a `T`. Its findings have codes that start with `area`.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load<T: DeserializeOwned + JsonSchema>(
    area: &str,
    file: &Path,
    variables: &Variables,
) -> Result<Loaded<T>, Vec<Finding>> {
    let text = read(area, file)?;
    let mut document = Document::parse(area, &text, file, variables)?;
    let value = document.decode()?;
    Ok(Loaded { value, document })
}

/// Whether a file in a folder of a project is one of its YAML files. What begins with a dot is hidden from people, and
/// what editors and systems leave there: `.#prices.yaml`, `._prices.yaml`.
pub fn is_named(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_yaml = path
        .extension()
        .is_some_and(|own| own == "yaml" || own == "yml");
    is_yaml && !name.starts_with('.')
}

/// The bytes of a file that people write.
///
/// # Errors
/// It cannot be read, is no regular file, or is too large.
pub fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let bytes = inline::load(file, MAX_BYTES)?;
    if bytes.len() as u64 > MAX_BYTES {
        let why = format!("it is larger than {} MiB", MAX_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub fn read(area: &str, file: &Path) -> Result<String, Vec<Finding>> {
    match bytes(file) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let message = format!("{} is not UTF-8 text: byte {at} is invalid", file.display());
            let finding = Finding::error(format!("{area}.unreadable"), message);
            vec![finding.advice("save it as UTF-8")]
        }),
        Err(error) => {
            let message = format!(
                "{} cannot be read: {}",
                file.display(),
                inline::reason(&error)
            );
            let advice = if error.kind() == std::io::ErrorKind::NotFound {
                inline::missing_advice(file)
            } else {
                String::new()
            };
            Err(vec![
                Finding::error(format!("{area}.unreadable"), message).advice(advice),
            ])
        }
    }
}

impl Document {
    /// Parses a text that stands in `file` and replaces its variables. A missing variable is a finding of
    /// [`Document::decode`].
    ///
    /// # Errors
    /// The text is no YAML.
    pub fn parse(
        area: &str,
        text: &str,
        file: &Path,
        variables: &Variables,
    ) -> Result<Self, Vec<Finding>> {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let (value, places) = yaml::parse(text, file)?;
        if value.is_null() {
            let start = Location {
                file: file.to_path_buf(),
                line: 1,
                column: 1,
                offset: 0,
                length: 0,
            };
            let advice = if SCHEMAS.contains(&area) {
                format!("`crossdock schema {area}` prints what can be in it")
            } else {
                String::new()
            };
            let finding = Finding::error(format!("{area}.empty"), "this file is empty");
            return Err(vec![finding.at(start).advice(advice)]);
        }
        let mut document = Self {
            area: area.to_owned(),
            folder: file.parent().unwrap_or(Path::new("")).to_path_buf(),
            value: Value::Null,
            places: Arc::new(places),
            findings: Vec::new(),
            spoiled: BTreeSet::new(),
            varied: BTreeMap::new(),
            files: Vec::new(),
        };
        document.value = document.substituted(value, String::new(), text, variables);
        // Nobody else has them yet.
        if let Some(places) = Arc::get_mut(&mut document.places) {
            for pointer in document.varied.keys() {
                places.vary(pointer);
            }
        }
        Ok(document)
    }

    /// The value as it stands now.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where its values stand.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Where a value stands, by JSON pointer.
    pub fn locate(&self, pointer: &str) -> Option<Location> {
        self.places.locate(pointer)
    }

    /// Files whose content was put into the value, also those that could not be read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Texts that a variable was put into: where they are, by JSON pointer, and how they are written.
    pub fn varied(&self) -> impl Iterator<Item = (&str, &str)> {
        let varied = self.varied.iter();
        varied.map(|(pointer, written)| (pointer.as_str(), written.as_str()))
    }

    /// Replaces every `{ $file: path }` below a pointer. What cannot be read is a finding of [`Document::decode`].
    pub fn inline_files(&mut self, pointer: &str) {
        if let Some(value) = self.value.pointer_mut(pointer) {
            let found = inline::files(value, pointer, &self.folder, &mut self.files, |at| {
                // A path whose variable is missing has its finding already.
                (!self.spoiled.contains(at)).then(|| self.places.locate(at))
            });
            self.findings.extend(found);
        }
    }

    /// Puts a text in the place of a value, by JSON pointer. That there is none is a finding of [`Document::decode`].
    pub fn put(&mut self, pointer: &str, text: Result<String, Finding>) {
        match text {
            Ok(text) => {
                if let Some(value) = self.value.pointer_mut(pointer) {
                    *value = Value::String(text);
                }
            }
            Err(finding) => {
                self.spoiled.insert(pointer.to_owned());
                self.findings.push(finding.at(self.locate(pointer)));
            }
        }
    }

    /// The value as a `T`.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the file.
    pub fn decode<T: DeserializeOwned + JsonSchema>(&mut self) -> Result<T, Vec<Finding>> {
        let area = &self.area;
        let mut findings = std::mem::take(&mut self.findings);
        match schema::violations_of_own(&schema::of::<T>(), &self.value) {
            Ok(mut violations) => {
                violations.retain(|one| !self.spoiled.contains(&one.pointer));
                schema::blame_variables(&mut violations, |at| self.places.is_varied(at));
                let locate = |pointer: &str, key| {
                    if key {
                        self.places.locate_key(pointer)
                    } else {
                        self.places.locate(pointer)
                    }
                };
                findings.extend(schema::findings(area, &violations, locate));
            }
            Err(error) => {
                findings.push(Finding::error(format!("{area}.schema"), error.to_string()));
            }
        }
        if finding::has_errors(&findings) {
            finding::sort(&mut findings);
            return Err(findings);
        }
        serde_path_to_error::deserialize(&self.value).map_err(|error| {
            let pointer = pointer_of(error.path());
            let message = error.into_inner().to_string();
            vec![
                Finding::error(format!("{area}.wrong-value"), message)
                    .at(self.places.locate(&pointer)),
            ]
        })
    }

    /// A value with its variables replaced.
    fn substituted(
        &mut self,
        value: Value,
        pointer: String,
        text: &str,
        variables: &Variables,
    ) -> Value {
        match value {
            Value::String(written) if written.contains("${") => {
                match substitute(&written, variables) {
                    Ok(replaced) => {
                        self.varied.insert(pointer, written);
                        Value::String(replaced)
                    }
                    Err(errors) => {
                        for error in errors {
                            self.report_variable(&error, &pointer, text);
                        }
                        self.spoiled.insert(pointer);
                        Value::String(written)
                    }
                }
            }
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                let item = |(at, item): (usize, Value)| {
                    self.substituted(item, child(&pointer, &at.to_string()), text, variables)
                };
                Value::Array(items.map(item).collect())
            }
            Value::Object(fields) => {
                let field = |(name, field): (String, Value)| {
                    let field = self.substituted(field, child(&pointer, &name), text, variables);
                    (name, field)
                };
                Value::Object(fields.into_iter().map(field).collect())
            }
            other => other,
        }
    }

    fn report_variable(&mut self, error: &VariableError, pointer: &str, text: &str) {
        let code = match error {
            VariableError::Missing(_) => "missing-variable",
            VariableError::Open | VariableError::Name(_) => "bad-variable",
        };
        let location = self.places.mark(pointer).map(|mark| {
            let exact = narrowed(mark, &error.needle(), text).unwrap_or(mark);
            self.places.location(exact)
        });
        let finding = Finding::error(format!("{}.{code}", self.area), error.to_string());
        self.findings
            .push(finding.at(location).advice(error.advice()));
    }
}

/// The part of a value's text that starts with `needle`: `${NAME` inside a longer text.
fn narrowed(mark: Mark, needle: &str, text: &str) -> Option<Mark> {
    let source = text.get(mark.offset..mark.offset.checked_add(mark.length)?)?;
    let at = source.find(needle)?;
    let (before, found) = (source.get(..at)?, source.get(at..)?);
    let lines = u32::try_from(before.matches('\n').count()).ok()?;
    let last_line = before.rsplit('\n').next().unwrap_or_default();
    let columns = u32::try_from(last_line.chars().count()).ok()?;
    Some(Mark {
        line: mark.line + lines,
        column: if lines == 0 {
            mark.column + columns
        } else {
            columns + 1
        },
        offset: mark.offset + at,
        length: found.find('}').map_or(needle.len(), |end| end + 1),
    })
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    path.iter()
        .fold(String::new(), |pointer, segment| match segment {
            Segment::Seq { index } => child(&pointer, &index.to_string()),
            Segment::Map { key } => child(&pointer, key),
            Segment::Enum { variant } => child(&pointer, variant),
            Segment::Unknown => pointer,
        })
}

/// Advice for a name that is not among the known ones. For the other modules' findings.
pub fn suggestion(found: &str, what: &str, known: &[&str]) -> String {
    near::suggestion(found, what, known)
}
