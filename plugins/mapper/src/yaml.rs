//! YAML as a tree that remembers where everything stands, so that a mapping can be strict about every key.

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span};
use std::borrow::Cow;
use std::collections::HashMap;

use crate::diagnose::{Compiled, Pos, Problem};

/// More nodes than any mapping has; stops alias bombs.
const MAX_NODES: usize = 200_000;
/// Deeper than any mapping is; keeps recursion over the tree safe.
const MAX_DEPTH: usize = 100;

/// A YAML node with its place.
#[derive(Clone, Debug)]
pub(crate) struct Yaml {
    pub(crate) pos: Pos,
    /// A local tag without its `!`, like `jq`.
    pub(crate) tag: Option<String>,
    pub(crate) data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    /// A number exactly as written; always valid JSON.
    Number(String),
    /// A text, and whether it is a block (`|`), whose content starts on the line after `pos`.
    Text(String, bool),
    List(Vec<Yaml>),
    Map(Vec<(Key, Yaml)>),
}

/// A key of a map with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) pos: Pos,
}

impl PartialEq for Yaml {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag && self.data == other.data
    }
}

impl Yaml {
    /// What this is, in words for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "true or false",
            Data::Number(_) => "a number",
            Data::Text(..) => "a text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    fn expected(&self, what: &str, wanted: &str) -> Problem {
        Problem::new(
            self.pos,
            format!("{what} must be {wanted}, found {}", self.kind()),
        )
    }

    /// The text of a node that has to be one.
    pub(crate) fn text(&self, what: &str) -> Compiled<&str> {
        match &self.data {
            Data::Text(text, _) if self.tag.is_none() => Ok(text),
            _ => Err(self.expected(what, "a text")),
        }
    }

    /// The entries of a node that has to be a map.
    pub(crate) fn map(&self, what: &str) -> Compiled<&[(Key, Yaml)]> {
        match &self.data {
            Data::Map(entries) if self.tag.is_none() => Ok(entries),
            _ => Err(self.expected(what, "a map")),
        }
    }

    /// The items of a node that has to be a list.
    pub(crate) fn list(&self, what: &str) -> Compiled<&[Yaml]> {
        match &self.data {
            Data::List(items) if self.tag.is_none() => Ok(items),
            _ => Err(self.expected(what, "a list")),
        }
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self, what: &str) -> Compiled<bool> {
        match self.data {
            Data::Bool(value) => Ok(value),
            _ => Err(self.expected(what, "true or false")),
        }
    }
}

/// Reads one YAML document.
pub(crate) fn parse(text: &str) -> Compiled<Yaml> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd => {
                return Ok(Yaml {
                    pos: Pos { line: 1, column: 1 },
                    tag: None,
                    data: Data::Null,
                });
            }
            event => {
                let root = reader.node(event, span, 0)?;
                reader.end()?;
                return Ok(root);
            }
        }
    }
}

struct Reader<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, (Yaml, usize)>,
    nodes: usize,
}

fn pos(span: &Span) -> Pos {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Pos {
        line: number(span.start.line()),
        column: number(span.start.col()).saturating_add(1),
    }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Compiled<(Event<'t>, Span)> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = error.marker();
                let at = pos(&Span::empty(*at));
                let problem = Problem::new(at, format!("this is not YAML: {}", error.info()));
                Err(match error.kind() {
                    ErrorKind::UnknownAnchor => problem.advice("a text that starts with `*` or `&` needs quotes"),
                    _ => problem.advice("a text with `: `, ` #`, or a leading `{`, `[`, `*`, `&`, `!`, `%` or `@` needs quotes"),
                })
            }
            None => Err(Problem::new(
                Pos::default(),
                "the mapping ends in the middle",
            )),
        }
    }

    /// Nothing may come after the first document.
    fn end(&mut self) -> Compiled<()> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd => {}
                _ => {
                    return Err(Problem::new(pos(&span), "a mapping is one YAML document")
                        .advice("remove the second one, or put it into a file of its own"));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Compiled<Yaml> {
        let at = pos(&span);
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(Problem::new(
                at,
                "the mapping is too large or too deeply nested",
            ));
        }
        let (anchor, tag, data) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag_of(tag.as_deref(), at)?;
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let data = if plain {
                    scalar(text)
                } else {
                    Data::Text(text.into_owned(), block)
                };
                (anchor, tag, data)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let items = self.items(depth)?;
                (anchor, tag_of(tag.as_deref(), at)?, Data::List(items))
            }
            Event::MappingStart(_, anchor, tag) => {
                let entries = self.entries(depth)?;
                (anchor, tag_of(tag.as_deref(), at)?, Data::Map(entries))
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id) else {
                    return Err(Problem::new(
                        at,
                        "this alias refers to a list or map that it is part of",
                    ));
                };
                self.nodes = self.nodes.saturating_add(*size);
                return Ok(Yaml {
                    pos: at,
                    ..node.clone()
                });
            }
            _ => return Err(Problem::new(at, "this is not YAML that a mapping can use")),
        };
        let node = Yaml { pos: at, tag, data };
        if anchor != 0 {
            let size = count(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Compiled<Vec<Yaml>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Compiled<Vec<(Key, Yaml)>> {
        let mut entries: Vec<(Key, Yaml)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let at = pos(&span);
            let text = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(Problem::new(at, "a key must be a plain text")
                        .advice("a template that starts with `{` needs quotes: \"{name}\""));
                }
            };
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.text == text) {
                let message = format!("`{text}` is here twice, first on line {}", first.pos.line);
                return Err(Problem::new(at, message));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((Key { text, pos: at }, value));
        }
    }
}

fn count(node: &Yaml) -> usize {
    match &node.data {
        Data::List(items) => items.iter().map(count).sum::<usize>() + 1,
        Data::Map(entries) => entries.iter().map(|(_, value)| count(value)).sum::<usize>() + 1,
        _ => 1,
    }
}

fn tag_of(tag: Option<&granit_parser::Tag>, at: Pos) -> Compiled<Option<String>> {
    match tag {
        None => Ok(None),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix() == "str" => {
            Ok(Some("text".to_owned()))
        }
        Some(tag) if tag.handle() == "!" => Ok(Some(tag.suffix().to_owned())),
        Some(tag) => Err(Problem::unknown(
            at,
            "tag",
            &tag.original(),
            &["!jq", "!text"],
        )),
    }
}

/// A plain scalar by the rules of YAML 1.2, except that only what JSON also writes as a number is one: `007` and `+1`
/// stay texts, because in records they are article numbers.
fn scalar(text: Cow<'_, str>) -> Data {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Bool(true),
        "false" | "False" | "FALSE" => Data::Bool(false),
        other if crate::scan::is_number(other) => Data::Number(text.into_owned()),
        _ => Data::Text(text.into_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let problem = parse(text).unwrap_err();
        format!("{problem} | {}", problem.advice)
    }

    #[test]
    fn scalars_keep_leading_zeros_and_number_texts() {
        let yaml = parse("[007, 1.50, 1e3, yes, ~, 'x', true, +1]").unwrap();
        let kinds: Vec<Data> = yaml
            .list("x")
            .unwrap()
            .iter()
            .map(|item| item.data.clone())
            .collect();
        assert_eq!(
            kinds,
            [
                Data::Text("007".into(), false),
                Data::Number("1.50".into()),
                Data::Number("1e3".into()),
                Data::Text("yes".into(), false),
                Data::Null,
                Data::Text("x".into(), false),
                Data::Bool(true),
                Data::Text("+1".into(), false),
            ]
        );
    }

    #[test]
    fn knows_where_things_stand() {
        let yaml = parse("a:\n  - b: !jq '.x'\n").unwrap();
        let (key, list) = &yaml.map("x").unwrap()[0];
        assert_eq!(key.pos, Pos { line: 1, column: 1 });
        let (key, value) = &list.list("x").unwrap()[0].map("x").unwrap()[0];
        assert_eq!((key.pos.line, key.pos.column), (2, 5));
        assert_eq!(value.tag.as_deref(), Some("jq"));
        assert_eq!((value.pos.line, value.pos.column), (2, 12));
    }

    #[test]
    fn duplicate_keys_and_second_documents_are_refused() {
        assert_eq!(
            problem("a: 1\nb: 2\na: 3\n"),
            "3:1: `a` is here twice, first on line 1 | "
        );
        assert!(problem("a: 1\n---\nb: 1\n").starts_with("2:1: a mapping is one YAML document"));
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            text += &[
                "a",
                &i.to_string(),
                ": &a",
                &i.to_string(),
                " [",
                &refs,
                "]\n",
            ]
            .concat();
        }
        assert!(problem(&text).contains("too large"));
        assert!(problem(&"[".repeat(2000)).contains("1:"));
        assert!(problem("a: &x [*x]").contains("part of"));
    }

    #[test]
    fn broken_yaml_names_the_place() {
        assert!(
            problem("a:\n  b: [1, 2\nc: 1\n").starts_with("3:")
                || problem("a:\n  b: [1, 2\nc: 1\n").starts_with("2:")
        );
    }
}
