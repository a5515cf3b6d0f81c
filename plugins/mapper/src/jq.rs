//! jq expressions, by the library jaq.

use bumpalo::Bump;
use jaq_core::load::{Arena, Error as LoadError, File, Loader, lex, span};
use jaq_core::{Compiler, Ctx, Filter, ValT, Vars, data};
use jaq_json::{Map, Num, Val};

use crate::diagnose::{Compiled, Pos, Problem, shorten};
use crate::jq_regex;
use crate::node::{Flag, Malformed, Node, View};
use crate::scope::Scope;

/// Deeper JSON than this is not handed to jq: it works recursively.
const MAX_DEPTH: usize = crossdock_sdk::json::MAX_DEPTH;

/// Definitions of jaq's library that need what a plugin does not have, or must not do.
const LEFT_OUT: [&str; 19] = [
    "stderr",
    "debug",
    "halt",
    "halt_error",
    "logb",
    "significand",
    "pow10",
    "drem",
    "nexttoward",
    "scalb",
    "gamma",
    "todate",
    "fromdate",
    "@html",
    "@htmld",
    "@uri",
    "@urid",
    "@base64",
    "@base64d",
];

/// Plain values, nothing global.
pub(crate) type Data = data::JustLut<Val>;

/// A compiled jq program.
pub(crate) struct Jq {
    filter: Filter<Data>,
    /// Slots of the variables it names, in the order it was compiled with.
    slots: Vec<usize>,
}

impl std::fmt::Debug for Jq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("jq")
    }
}

impl Jq {
    /// Compiles a program. The variables of the mapping are there under their names, with `_` for `-`.
    pub(crate) fn compile(code: &str, pos: Pos, block: bool, scope: &Scope<'_>) -> Compiled<Self> {
        let place = |part: &str| locate(code, part, pos, block);
        let used: Vec<(String, usize)> = scope
            .names()
            .iter()
            .map(|(name, slot)| (format!("${}", name.replace('-', "_")), *slot))
            .filter(|(name, _)| code.contains(name.as_str()))
            .collect();
        let defs = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs());
        let defs = defs.filter(|def| !LEFT_OUT.contains(&def.name));
        let funs = jaq_core::funs::<Data>()
            .chain(jaq_std::base_funs())
            .chain(jq_regex::funs())
            .chain(jaq_json::funs());
        let funs = funs.filter(|(name, ..)| *name != "halt");
        let arena = Arena::default();
        let modules = Loader::new(defs)
            .load(&arena, File { code, path: () })
            .map_err(|errors| {
                let first = errors.into_iter().next().map(|(_, error)| error);
                load_problem(first, code, place)
            })?;
        let filter = Compiler::default()
            .with_funs(funs)
            .with_global_vars(used.iter().map(|(name, _)| name.as_str()))
            .compile(modules)
            .map_err(|errors| {
                let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
                match first {
                    Some((name, undefined)) => Problem::new(
                        place(name),
                        format!("jq: there is no {} `{}`", undefined.as_str(), shorten(name, 40)),
                    )
                    .advice("it has jq's core and standard library without dates, environment and input; dates are functions of the mapping"),
                    None => Problem::new(pos, "jq: this cannot be compiled"),
                }
            })?;
        Ok(Self {
            filter,
            slots: used.into_iter().map(|(_, slot)| slot).collect(),
        })
    }

    /// Runs it: the first value it gives, if any. A second one is an error, because it would get lost.
    pub(crate) fn run<'a>(
        &self,
        input: &Node<'a>,
        variables: &[Option<Node<'a>>],
        bump: &'a Bump,
    ) -> Result<Option<Node<'a>>, String> {
        let mut values = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let node = variables.get(*slot).and_then(Option::as_ref);
            values.push(node.map_or(Ok(Val::Null), |node| to_val(node, bump, 0))?);
        }
        let input = to_val(input, bump, 0)?;
        let ctx = Ctx::<Data>::new(&self.filter.lut, Vars::new(values));
        let mut outputs = self.filter.id.run((ctx, input));
        let mut next = || match outputs.next() {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(exception)) => Err(match exception.get_err() {
                Ok(error) => format!("jq: {}", shorten(&error.to_string(), 300)),
                Err(_) => "jq: `break` without a label".to_owned(),
            }),
        };
        let Some(value) = next()? else {
            return Ok(None);
        };
        if next()?.is_some() {
            return Err(
                "jq: gives more than one value; collect them in a list: `[...]`".to_owned(),
            );
        }
        Ok(Some(to_node(&value, bump)))
    }
}

fn load_problem(
    error: Option<LoadError<&str>>,
    code: &str,
    place: impl Fn(&str) -> Pos,
) -> Problem {
    match error {
        Some(LoadError::Lex(errors)) => match errors.into_iter().next() {
            Some((expected, found)) => {
                let expected = match expected {
                    lex::Expect::Delim(_) => "the closing bracket or quote",
                    other => other.as_str(),
                };
                unexpected(expected, found, place(found))
            }
            None => Problem::new(place(code), "jq: this cannot be read"),
        },
        Some(LoadError::Parse(errors)) => match errors.into_iter().next() {
            Some((expected, found)) => unexpected(expected.as_str(), found, place(found)),
            None => Problem::new(place(code), "jq: this cannot be read"),
        },
        _ => Problem::new(place(code), "jq: modules cannot be imported in a mapping"),
    }
}

fn unexpected(expected: &str, found: &str, pos: Pos) -> Problem {
    let found = if found.is_empty() {
        "the end".to_owned()
    } else {
        format!("`{}`", shorten(found.trim(), 20))
    };
    Problem::new(pos, format!("jq: expected {expected}, found {found}"))
}

/// Where a part of the program stands in the mapping. In a block text the program starts on the next line.
fn locate(code: &str, part: &str, pos: Pos, block: bool) -> Pos {
    let range = code.as_bytes().as_ptr_range();
    let start = part.as_ptr();
    let offset = if range.contains(&start) || start == range.end {
        span(code, part).start
    } else {
        0
    };
    let before = code.get(..offset).unwrap_or_default();
    let line = u32::try_from(before.matches('\n').count()).unwrap_or(0);
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count();
    let column = u32::try_from(column).unwrap_or(0);
    if block {
        Pos {
            line: pos.line + line + 1,
            column: column + 1,
        }
    } else if line == 0 {
        Pos {
            line: pos.line,
            column: pos.column + column + 1,
        }
    } else {
        Pos {
            line: pos.line + line,
            column: column + 1,
        }
    }
}

fn to_val<'a>(node: &Node<'a>, bump: &'a Bump, depth: usize) -> Result<Val, String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "jq: the value is nested deeper than {MAX_DEPTH} levels"
        ));
    }
    let malformed = |error: Malformed| error.to_string();
    Ok(match node {
        Node::Null => Val::Null,
        Node::Bool(flag) => Val::Bool(*flag == Flag::True),
        Node::Number(text) => number(text),
        Node::Text(text) => Val::from((*text).to_owned()),
        Node::Quoted(_) => Val::from(node.as_text(bump).unwrap_or_default().to_owned()),
        _ => match node.view().map_err(malformed)? {
            View::List(items) => {
                let items: Result<Vec<Val>, String> = items
                    .iter()
                    .map(|item| to_val(item, bump, depth + 1))
                    .collect();
                Val::from_iter(items?)
            }
            View::Object(entries) => {
                let mut map = Map::default();
                for (key, value) in entries {
                    map.insert(
                        Val::from((*key).to_owned()),
                        to_val(value, bump, depth + 1)?,
                    );
                }
                Val::obj(map)
            }
            View::Scalar => Val::Null,
        },
    })
}

/// Only whole numbers as jq itself would write them are made numbers at once; all others keep their text until they
/// are computed with.
fn number(text: &str) -> Val {
    match text {
        "-0" => Val::Num(Num::Dec(text.to_owned().into())),
        _ => Val::from_num(text).unwrap_or_default(),
    }
}

fn to_node<'a>(value: &Val, bump: &'a Bump) -> Node<'a> {
    match value {
        Val::Null => Node::Null,
        Val::Bool(value) => Node::Bool((*value).into()),
        Val::Num(Num::Float(float)) if !float.is_finite() => Node::Null,
        Val::Num(number) => {
            let text = number.to_string();
            if crate::scan::is_number(&text) {
                Node::Number(bump.alloc_str(&text))
            } else {
                Node::Null
            }
        }
        Val::TStr(bytes) | Val::BStr(bytes) => Node::text(&String::from_utf8_lossy(bytes), bump),
        Val::Arr(items) => Node::List(items.iter().map(|item| to_node(item, bump)).collect()),
        Val::Obj(entries) => {
            let entry = |(key, value): (&Val, &Val)| {
                let key: &'a str = match key {
                    Val::TStr(bytes) | Val::BStr(bytes) => {
                        bump.alloc_str(&String::from_utf8_lossy(bytes))
                    }
                    other => bump.alloc_str(&other.to_string()),
                };
                (key, to_node(value, bump))
            };
            Node::Object(entries.iter().map(entry).collect())
        }
    }
}
