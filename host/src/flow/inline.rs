//! `{ $file: path }` in a config: the content of a file beside the flow file.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    finding::{Finding, Location},
    near,
    place::child,
};

/// A config travels into every instance: what is larger than this is data, not config.
const MAX_BYTES: u64 = 16 << 20;
const FIELD: &str = "$file";

/// Replaces every `{ $file: path }` in a value by `{ "name": path, "text": content }`. Paths are relative to `folder`, and are
/// added to `read_files`.
/// `locate` gives the place of a path, or `None` when the path is known to be wrong already.
pub(super) fn files(
    value: &mut Value,
    pointer: &str,
    folder: &Path,
    read_files: &mut Vec<PathBuf>,
    locate: impl Fn(&str) -> Option<Option<Location>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    replace(value, pointer, &mut |named, fields, at| {
        let location = locate(at)?;
        read_files.extend(named.as_str().map(|name| folder.join(name)));
        read(named, fields, folder)
            .map_err(|finding| findings.push(finding.at(location)))
            .ok()
    });
    findings
}

/// Calls `read` with every `$file`, the number of fields beside it and its pointer, and puts there what it gives.
fn replace(
    value: &mut Value,
    pointer: &str,
    read: &mut dyn FnMut(&Value, usize, &str) -> Option<Value>,
) {
    match value {
        Value::Object(fields) => {
            if let Some(named) = fields.get(FIELD) {
                if let Some(content) = read(named, fields.len(), &child(pointer, FIELD)) {
                    *value = content;
                }
                return;
            }
            for (name, field) in fields {
                replace(field, &child(pointer, name), read);
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter_mut().enumerate() {
                replace(item, &child(pointer, &position.to_string()), read);
            }
        }
        _ => {}
    }
}

fn read(named: &Value, fields: usize, folder: &Path) -> Result<Value, Box<Finding>> {
    let shape = "write { $file: path/to/file }, with nothing else in the braces";
    let Some(name) = named.as_str().filter(|name| !name.is_empty()) else {
        let finding = Finding::error("flow.file", "`$file` must be the path of a file");
        return Err(Box::new(finding.advice(shape)));
    };
    if fields > 1 {
        let finding = Finding::error("flow.file", "`$file` stands beside other fields");
        return Err(Box::new(finding.advice(shape)));
    }
    let path = folder.join(name);
    match load(&path, MAX_BYTES) {
        Ok(bytes) if bytes.len() as u64 > MAX_BYTES => {
            let message = format!("the file `{name}` is larger than {} MiB", MAX_BYTES >> 20);
            let advice =
                "a config holds rules, not data: grant the folder and let the plugin read the file";
            Err(Box::new(
                Finding::error("flow.file-too-large", message).advice(advice),
            ))
        }
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => {
                Ok(json!({ "name": name, "text": text.strip_prefix('\u{FEFF}').unwrap_or(&text) }))
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let message = format!("the file `{name}` is not UTF-8 text: byte {at} is invalid");
                Err(Box::new(
                    Finding::error("flow.file-not-text", message).advice("save it as UTF-8"),
                ))
            }
        },
        Err(error) => {
            let message = format!("the file `{name}` cannot be read: {}", reason(&error));
            Err(Box::new(
                Finding::error("flow.missing-file", message).advice(missing_advice(&path)),
            ))
        }
    }
}

/// The bytes of a file, one more than `most` when it is larger. What is no regular file is not opened: a pipe waits for
/// somebody who writes into it, and a device may never end.
pub(super) fn load(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a file cannot be read, without the number of the operating system's error.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

/// The file with the most similar name in the same folder, or where the path was looked for.
pub(super) fn missing_advice(path: &Path) -> String {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let wanted = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let names: Vec<String> = folder
        .read_dir()
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    match near::nearest(
        &wanted,
        names
            .iter()
            .map(String::as_str)
            .filter(|name| *name != wanted),
    ) {
        Some(name) => format!("did you mean `{name}`? looked for {}", path.display()),
        None => format!("looked for {}", path.display()),
    }
}
