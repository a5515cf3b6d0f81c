//! The command line as it is typed, and its help texts.

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use super::{
    Failure,
    arguments::{Arguments, Color, Command, MapCommand},
    dlq::arguments::DlqCommand,
    failed,
};

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn commands_are_parsed() {
    let Command::Run(run) =
        parse("crossdock --color never run a.yaml --var A=1 --var B=x=y --var C= --plugins p --plugins q --state s --json")
            .unwrap()
            .command
    else {
        panic!("not run")
    };
    let variables = [("A", "1"), ("B", "x=y"), ("C", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(run.flow.variables, variables);
    assert_eq!(
        run.flow.plugins.folders,
        ["p", "q"].map(std::path::PathBuf::from)
    );
    assert_eq!(run.flow.state.as_deref(), Some(std::path::Path::new("s")));
    assert!(run.json && !run.from_start && !run.quiet);
    let map =
        parse("crossdock map test m.yaml --input a.jsonl --table t=t.jsonl --log debug").unwrap();
    assert_eq!((map.color, map.log.as_str()), (Color::Auto, "debug"));
    let Command::Map(MapCommand::Test(map)) = map.command else {
        panic!("not map test")
    };
    assert_eq!(
        (map.stream.as_str(), map.plugin.as_str()),
        ("records", "mapper")
    );
    assert_eq!(map.tables, [("t".to_owned(), "t.jsonl".into())]);
    for name in ["dlq", "dead-letter"] {
        let list = parse(&format!(
            "crossdock {name} list --flow a --limit 5 --after 9 --plugin-version 1.0.0"
        ));
        let Command::Dlq(DlqCommand::List(list)) = list.unwrap().command else {
            panic!("not list")
        };
        assert_eq!(
            (list.of.flow.as_deref(), list.limit, list.after),
            (Some("a"), 5, 9)
        );
        assert_eq!(list.choice.plugin_version.as_deref(), Some("1.0.0"));
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_code_2() {
    for (line, kind, said) in [
        (
            "crossdock",
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            "Usage",
        ),
        (
            "crossdock run",
            ErrorKind::MissingRequiredArgument,
            "<FLOW>",
        ),
        (
            "crossdock run a.yaml --var A",
            ErrorKind::ValueValidation,
            "expected NAME=VALUE",
        ),
        (
            "crossdock run a.yaml --var 1A=x",
            ErrorKind::ValueValidation,
            "`1A` is no name",
        ),
        (
            "crossdock run a.yaml --form-start",
            ErrorKind::UnknownArgument,
            "--from-start",
        ),
        ("crossdock schema flows", ErrorKind::InvalidValue, "'flow'"),
        (
            "crossdock --log =x run a.yaml",
            ErrorKind::ValueValidation,
            "try `info`",
        ),
        (
            "crossdock map test m.yaml --input a --table t",
            ErrorKind::ValueValidation,
            "expected NAME=FILE",
        ),
        (
            "crossdock dlq show x",
            ErrorKind::ValueValidation,
            "invalid digit",
        ),
        (
            "crossdock chek a.yaml",
            ErrorKind::InvalidSubcommand,
            "check",
        ),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
        assert!(error.to_string().contains(said), "{line}: {error}");
    }
}

#[test]
fn every_help_text_is_pinned() {
    let mut texts = Vec::new();
    collect(&mut Arguments::command(), "crossdock", &mut texts);
    insta::assert_snapshot!(texts.join("\n\n"));
}

fn collect(command: &mut clap::Command, name: &str, texts: &mut Vec<String>) {
    let mut shown = command.clone().bin_name(name).term_width(100);
    texts.push(format!("$ {name} --help\n{}", shown.render_long_help()));
    for sub in command
        .get_subcommands_mut()
        .filter(|sub| sub.get_name() != "help")
    {
        let name = format!("{name} {}", sub.get_name());
        collect(sub, &name, texts);
    }
}

#[test]
fn failures_have_one_document_and_their_causes_once() {
    let inner = std::io::Error::other("no room");
    let failure = Failure::Io {
        action: "signals cannot be listened to",
        source: inner,
    };
    assert_eq!(
        failure.message(&[]),
        "signals cannot be listened to: no room"
    );
    let document = failed("it broke", &[]);
    assert_eq!(
        document,
        serde_json::json!({"ok": false, "error": "it broke", "findings": []})
    );
}
