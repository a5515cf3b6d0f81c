//! Reads paths, pipes and templates, the three little texts of the language.

use crate::diagnose::{Compiled, Pos, Problem};
use crate::function;
use crate::jq::Jq;
use crate::scan;
use crate::scope::Scope;
use crate::syntax::{Call, Choice, Expr, Part, Path, Pick, Root, Step};
use crate::yaml::{Data, Yaml};

/// Reads any value of a mapping.
pub(crate) fn value(yaml: &Yaml, scope: &mut Scope<'_>) -> Compiled<Expr> {
    match yaml.tag.as_deref() {
        None => {}
        Some("jq") => return jq(yaml, scope).map(Expr::Jq),
        Some("text") => {
            return match &yaml.data {
                Data::Text(text, _) => Ok(Expr::Text(text.clone())),
                _ => Err(Problem::new(yaml.pos, "`!text` needs a text")),
            };
        }
        Some(other) => {
            return Err(Problem::unknown(
                yaml.pos,
                "tag",
                &format!("!{other}"),
                &["!jq", "!text"],
            ));
        }
    }
    Ok(match &yaml.data {
        Data::Null => Expr::Null,
        Data::Bool(value) => Expr::Bool(*value),
        Data::Number(text) => Expr::Number(text.clone()),
        Data::Text(text, _) => self::text(text, yaml.pos, scope)?,
        Data::List(items) => Expr::List(
            items
                .iter()
                .map(|item| value(item, scope))
                .collect::<Compiled<_>>()?,
        ),
        Data::Map(entries) => {
            let entry = |(key, item): &(crate::yaml::Key, Yaml)| {
                Ok((template(&key.text, key.pos, scope)?, value(item, scope)?))
            };
            Expr::Object(entries.iter().map(entry).collect::<Compiled<_>>()?)
        }
    })
}

/// The jq program in a node's text.
pub(crate) fn jq(yaml: &Yaml, scope: &Scope<'_>) -> Compiled<Jq> {
    match &yaml.data {
        Data::Text(text, block) => Jq::compile(text, yaml.pos, *block, scope),
        _ => Err(Problem::new(yaml.pos, "`jq` needs a text: a jq program")),
    }
}

/// A text where a value may stand: `$.field | upper`, `"{brand} {name}"`, or just itself.
pub(crate) fn text(text: &str, pos: Pos, scope: &mut Scope<'_>) -> Compiled<Expr> {
    if let Some(rest) = text.strip_prefix("$$") {
        return template(&format!("${rest}"), pos, scope);
    }
    if !text.starts_with('$') {
        return template(text, pos, scope);
    }
    let mut cursor = Cursor {
        text,
        at: 0,
        pos,
        scope,
    };
    let expr = cursor.pipe(false)?;
    cursor.blank();
    match cursor.peek() {
        None => Ok(expr),
        Some(_) => Err(cursor
            .problem("expected `|` or the end")
            .advice("a text that only starts with `$` is written `$$`; a text with fields in it is a template: \"{name} x\"")),
    }
}

/// A text with `{...}` in it.
pub(crate) fn template(text: &str, pos: Pos, scope: &mut Scope<'_>) -> Compiled<Expr> {
    if !text.contains(['{', '}']) {
        return Ok(Expr::Text(text.to_owned()));
    }
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut cursor = Cursor {
        text,
        at: 0,
        pos,
        scope,
    };
    while let Some(c) = cursor.next() {
        match c {
            '{' | '}' if cursor.peek() == Some(c) => {
                cursor.next();
                plain.push(c);
            }
            '{' => {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Value(cursor.pipe(true)?));
                cursor.blank();
                cursor.expect('}')?;
            }
            '}' => {
                return Err(cursor
                    .problem("this `}` has no `{`")
                    .advice("a brace itself is written `{{` or `}}`"));
            }
            other => plain.push(other),
        }
    }
    if parts.is_empty() {
        return Ok(Expr::Text(plain));
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(Expr::Template(parts))
}

/// A text that is a path, like the fields that `set` writes. `$.` in front is allowed and means the same.
pub(crate) fn path(text: &str, pos: Pos, scope: &mut Scope<'_>) -> Compiled<Path> {
    let mut cursor = Cursor {
        text,
        at: 0,
        pos,
        scope,
    };
    cursor.blank();
    let path = cursor.path(true)?;
    cursor.blank();
    match cursor.peek() {
        None => Ok(path),
        Some('|') => Err(cursor.problem("this has to be a place, without functions")),
        Some(_) => Err(cursor.problem("expected `.`, `[` or the end")),
    }
}

/// A path with functions, where `$.` may be left out: the left side of a condition.
pub(crate) fn subject(text: &str, pos: Pos, scope: &mut Scope<'_>) -> Compiled<Expr> {
    let mut cursor = Cursor {
        text,
        at: 0,
        pos,
        scope,
    };
    let expr = cursor.pipe(true)?;
    cursor.blank();
    match cursor.peek() {
        None => Ok(expr),
        Some(_) => Err(cursor.problem("expected `|` or the end")),
    }
}

/// `trim | upper`: functions without a value in front.
pub(crate) fn calls(text: &str, pos: Pos, scope: &mut Scope<'_>) -> Compiled<Vec<Call>> {
    let mut cursor = Cursor {
        text,
        at: 0,
        pos,
        scope,
    };
    let mut calls = vec![cursor.call()?];
    loop {
        cursor.blank();
        match cursor.next() {
            None => return Ok(calls),
            Some('|') => calls.push(cursor.call()?),
            Some(_) => return Err(cursor.problem("expected `|` or the end")),
        }
    }
}

struct Cursor<'c, 's, 't> {
    text: &'c str,
    at: usize,
    pos: Pos,
    scope: &'s mut Scope<'t>,
}

impl<'c> Cursor<'c, '_, '_> {
    fn rest(&self) -> &'c str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'c str {
        let rest = self.rest();
        let end = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn problem(&self, message: &str) -> Problem {
        let column = self
            .text
            .get(..self.at)
            .map_or(0, |before| before.chars().count())
            + 1;
        Problem::new(
            self.pos,
            format!("in `{}`, character {column}: {message}", self.text),
        )
    }

    fn expect(&mut self, wanted: char) -> Compiled<()> {
        if self.peek() == Some(wanted) {
            self.next();
            return Ok(());
        }
        Err(self.problem(&format!("expected `{wanted}`")))
    }

    /// A path or reserved name, and functions behind it. `bare`: the `$.` may be left out.
    fn pipe(&mut self, bare: bool) -> Compiled<Expr> {
        self.blank();
        let first = match self.reserved() {
            Some(reserved) => reserved,
            None => Expr::Path(self.path(bare)?),
        };
        if let Expr::Path(path) = &first
            && path.steps.iter().any(|step| matches!(step, Step::Append))
        {
            return Err(self.problem("`[+]` is a place to write to, not to read from"));
        }
        let mut calls = Vec::new();
        loop {
            self.blank();
            if self.peek() != Some('|') {
                break;
            }
            self.next();
            calls.push(self.call()?);
        }
        Ok(if calls.is_empty() {
            first
        } else {
            Expr::Pipe(Box::new(first), calls)
        })
    }

    fn reserved(&mut self) -> Option<Expr> {
        let rest = self.rest();
        for (name, expr) in [("$key", Expr::Key), ("$stream", Expr::Stream)] {
            if let Some(after) = rest.strip_prefix(name)
                && !after.starts_with(is_name_char)
                && !after.starts_with(['.', '['])
            {
                self.at += name.len();
                return Some(expr);
            }
        }
        None
    }

    fn path(&mut self, bare: bool) -> Compiled<Path> {
        let start = self.at;
        let mut steps = Vec::new();
        let mut root = Root::Record;
        if self.peek() == Some('$') {
            self.next();
            let name = self.take_while(is_name_char);
            if !name.is_empty() {
                root = Root::Variable(self.scope.variable(name, self.pos)?);
            } else if self.peek().is_some_and(|c| {
                !c.is_whitespace() && !matches!(c, '.' | '[' | '|' | '}' | ']' | ',')
            }) {
                return Err(self.problem("expected `$.field`, `$variable` or `$` alone"));
            }
        } else if bare {
            steps.push(self.field()?);
        } else {
            return Err(self.problem("expected `$.field` or `$variable`"));
        }
        loop {
            match self.peek() {
                Some('.') => {
                    self.next();
                    steps.push(self.field()?);
                }
                Some('[') => {
                    self.next();
                    steps.push(self.bracket()?);
                }
                _ => break,
            }
        }
        let text = self
            .text
            .get(start..self.at)
            .unwrap_or_default()
            .trim_start_matches("$.")
            .to_owned();
        Ok(Path::new(text, root, steps))
    }

    /// One step: a name, a quoted name, `*` or `{...}`.
    fn field(&mut self) -> Compiled<Step> {
        match self.peek() {
            Some('*') => {
                self.next();
                Ok(Step::Every)
            }
            Some('{') => {
                self.next();
                let expr = self.pipe(true)?;
                self.blank();
                self.expect('}')?;
                Ok(Step::Computed(expr))
            }
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(Step::Field),
            _ => {
                let name = self.take_while(is_field_char);
                if name.is_empty() {
                    return Err(self
                        .problem("expected the name of a field")
                        .advice("a name with spaces, dots or other signs is quoted: `a.\"b c\"`"));
                }
                Ok(Step::Field(name.to_owned()))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Compiled<String> {
        self.next();
        let text = self.take_while(|c| c != quote);
        self.expect(quote)?;
        Ok(text.to_owned())
    }

    /// What is between `[` and `]`.
    fn bracket(&mut self) -> Compiled<Step> {
        self.blank();
        let step = match self.peek() {
            Some('*') => {
                self.next();
                Step::Every
            }
            Some('+') => {
                self.next();
                Step::Append
            }
            Some(quote @ ('\'' | '"')) => Step::Field(self.quoted(quote)?),
            Some(c) if c == '-' || c.is_ascii_digit() => {
                let digits = self.take_while(|c| c == '-' || c.is_ascii_digit());
                let index = digits.parse();
                Step::Index(index.map_err(|_| self.problem("expected a whole number"))?)
            }
            _ => Step::Pick(self.picks()?),
        };
        self.blank();
        self.expect(']')?;
        Ok(step)
    }

    /// `locale=de_DE|null, scope=ecommerce`.
    fn picks(&mut self) -> Compiled<Vec<Pick>> {
        let mut picks = Vec::new();
        loop {
            self.blank();
            let field = self.take_while(is_field_char).to_owned();
            if field.is_empty() {
                return Err(
                    self.problem("expected a number, `*`, `+` or a choice like `locale=de_DE`")
                );
            }
            self.blank();
            self.expect('=')?;
            let mut choices = vec![self.choice()?];
            self.blank();
            while self.peek() == Some('|') {
                self.next();
                choices.push(self.choice()?);
                self.blank();
            }
            picks.push(Pick { field, choices });
            if self.peek() != Some(',') {
                return Ok(picks);
            }
            self.next();
        }
    }

    fn choice(&mut self) -> Compiled<Choice> {
        self.blank();
        match self.peek() {
            Some('*') => {
                self.next();
                Ok(Choice::Any)
            }
            Some('$') => self.path(false).map(Choice::Path),
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(Choice::Text),
            _ => {
                let word = self.take_while(|c| {
                    !c.is_whitespace() && !matches!(c, '|' | ',' | ']' | '[' | '=' | '{' | '}')
                });
                match word {
                    "" => Err(self.problem("expected a value, `null` or `*`")),
                    "null" => Ok(Choice::Null),
                    word => Ok(Choice::Text(word.to_owned())),
                }
            }
        }
    }

    /// One function with its arguments.
    fn call(&mut self) -> Compiled<Call> {
        self.blank();
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if name.is_empty() {
            return Err(self.problem("expected the name of a function"));
        }
        let mut args = Vec::new();
        loop {
            self.blank();
            match self.peek() {
                None | Some('|' | '}') => break,
                _ => args.push(self.argument()?),
            }
        }
        let at = self.pos;
        function::call(name, args, at, self.scope).map_err(|problem| Problem {
            message: format!("in `{}`: {}", self.text, problem.message),
            ..problem
        })
    }

    fn argument(&mut self) -> Compiled<Expr> {
        match self.peek() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(Expr::Text),
            Some('$') => match self.reserved() {
                Some(reserved) => Ok(reserved),
                None => self.path(false).map(Expr::Path),
            },
            _ => {
                let word = self.take_while(|c| !c.is_whitespace() && !matches!(c, '|' | '}' | '{'));
                Ok(match word {
                    "" => return Err(self.problem("expected an argument")),
                    "true" => Expr::Bool(true),
                    "false" => Expr::Bool(false),
                    "null" => Expr::Null,
                    number if scan::is_number(number) => Expr::Number(number.to_owned()),
                    word => Expr::Text(word.to_owned()),
                })
            }
        }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn is_field_char(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(
            c,
            '.' | '[' | ']' | '{' | '}' | '|' | '\'' | '"' | '$' | ',' | '=' | '(' | ')' | '*'
        )
}
