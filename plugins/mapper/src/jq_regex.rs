//! Regular expressions for jq. jaq's library has them only together with dates, mathematics and logging, which would
//! more than double the component.

use jaq_core::native::{Filter, Fun, bome, run};
use jaq_core::{Bind, Cv, Error, RunPtr};
use jaq_json::Val;
use regex_bites::{Captures, Regex, RegexBuilder};

use crate::jq::Data;

type Result<T> = std::result::Result<T, Error<Val>>;

/// What the definitions of `test`, `match`, `capture`, `scan`, `split`, `sub` and `gsub` are built on.
pub(crate) fn funs() -> impl Iterator<Item = Fun<Data>> {
    let two = || [Bind::Var(()), Bind::Var(())].into();
    let funs: [Filter<RunPtr<Data>>; 3] = [
        ("matches", two(), |cv| bome(pieces(cv, false, true))),
        ("split_matches", two(), |cv| bome(pieces(cv, true, true))),
        ("split_", two(), |cv| bome(pieces(cv, true, false))),
    ];
    funs.into_iter().map(run::<Data>)
}

fn text(value: &Val) -> Result<String> {
    match value {
        Val::TStr(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        other => Err(Error::typ(other.clone(), "string")),
    }
}

fn string(text: &str) -> Val {
    Val::from(text.to_owned())
}

/// The texts between matches, and the matches.
fn pieces(mut cv: Cv<'_, Data>, between: bool, matches: bool) -> Result<Val> {
    let flags = text(&cv.0.pop_var())?;
    let (regex, every, ignore_empty) = compile(&text(&cv.0.pop_var())?, &flags)?;
    let input = text(&cv.1)?;
    let (mut out, mut last) = (Vec::new(), 0);
    for found in regex.captures_iter(&input) {
        let Some(whole) = found.get(0) else { continue };
        if ignore_empty && whole.range().is_empty() {
            continue;
        }
        if between {
            out.push(string(input.get(last..whole.start()).unwrap_or_default()));
            last = whole.end();
        }
        if matches {
            out.push(groups(&regex, &found, &input));
        }
        if !every {
            break;
        }
    }
    if between {
        out.push(string(input.get(last..).unwrap_or_default()));
    }
    Ok(Val::from_iter(out))
}

fn groups(regex: &Regex, found: &Captures<'_>, input: &str) -> Val {
    let groups = found
        .iter()
        .zip(regex.capture_names())
        .filter_map(|(group, name)| {
            let group = group?;
            let chars = |text: Option<&str>| Val::from(text.unwrap_or_default().chars().count());
            let mut fields = vec![
                (string("offset"), chars(input.get(..group.start()))),
                (string("length"), chars(Some(group.as_str()))),
                (string("string"), string(group.as_str())),
            ];
            if let Some(name) = name {
                fields.push((string("name"), string(name)));
            }
            Some(Val::obj(fields.into_iter().collect()))
        });
    groups.collect()
}

fn compile(pattern: &str, flags: &str) -> Result<(Regex, bool, bool)> {
    let (mut every, mut ignore_empty) = (false, false);
    let mut builder = RegexBuilder::new(pattern);
    for flag in flags.chars() {
        match flag {
            'g' => every = true,
            'n' => ignore_empty = true,
            'i' => drop(builder.case_insensitive(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'm' => drop(builder.multi_line(true)),
            other => return Err(Error::str(format_args!("invalid regex flag: {other}"))),
        }
    }
    let regex = builder
        .build()
        .map_err(|error| Error::str(format_args!("invalid regex: {error}")))?;
    Ok((regex, every, ignore_empty))
}
