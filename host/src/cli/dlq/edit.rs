//! `crossdock dlq edit`.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::Command,
};

use super::{arguments::EditArguments, letters::Letters, tell};
use crate::{
    app::{Bytes, DeadLetter, Edit},
    cli::{Failure, output::Output},
};

/// No record is larger.
const MAX_PAYLOAD: u64 = 256 << 20;

pub(super) async fn edit(arguments: EditArguments, output: Output) -> Result<u8, Failure> {
    let letters = Letters::open(arguments.state.state).await?;
    let given = arguments.payload.as_deref().map(read).transpose()?;
    let nothing_given = given.is_none()
        && arguments.key.is_none()
        && arguments.headers.is_none()
        && arguments.form.is_none();
    let payload = if nothing_given {
        let Some(changed) = in_editor(&letters.show(arguments.id).await?)? else {
            output.tell("nothing was changed");
            return Ok(0);
        };
        Some(changed)
    } else {
        given
    };
    let change = Edit {
        key: arguments.key,
        headers: arguments.headers,
        payload,
        form: arguments.form,
    };
    let letter = letters.edit(arguments.id, change).await?;
    tell(&letter, arguments.json, output);
    Ok(0)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let done = if file == Path::new("-") {
        io::stdin().take(MAX_PAYLOAD + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|f| f.take(MAX_PAYLOAD + 1).read_to_end(&mut bytes))
    };
    done.map_err(|source| Failure::Usage(format!("cannot read {}: {source}", file.display())))?;
    if bytes.len() as u64 > MAX_PAYLOAD {
        return Err(Failure::Usage(format!(
            "{} is no payload: it has more than {} MiB",
            file.display(),
            MAX_PAYLOAD >> 20
        )));
    }
    // Editors end a text with a line break that is no part of a record.
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(bytes)
}

/// Lets a person change the payload; `None` when it stays as it was.
fn in_editor(letter: &DeadLetter) -> Result<Option<Vec<u8>>, Failure> {
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|editor| !editor.is_empty()));
    let Some(editor) = editor else {
        return Err(Failure::Usage(
            "no editor is known: set EDITOR, or give --payload, --key, --headers or --form"
                .to_owned(),
        ));
    };
    let failed = |source| Failure::Io {
        action: "the payload cannot be edited",
        source,
    };
    let shown = match Bytes(&letter.payload).pretty() {
        Some(text) => text.as_bytes().to_vec(),
        None => letter.payload.clone(),
    };
    // Only its owner can read it, and it goes when this ends.
    let mut file = tempfile::Builder::new()
        .prefix("crossdock-")
        .suffix(if letter.form == "json" { ".json" } else { "" })
        .tempfile()
        .map_err(failed)?;
    file.write_all(&shown)
        .and_then(|()| file.flush())
        .map_err(failed)?;
    // An editor is a command line with arguments, as everywhere: the shell takes it apart.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file.path())
        .status()
        .map_err(failed)?;
    if !status.success() {
        return Err(Failure::Usage(format!(
            "`{editor}` ended with an error ({status}): nothing was changed"
        )));
    }
    let changed = read(file.path())?;
    Ok((changed != shown).then_some(changed))
}
