//! `crossdock check`: everything that can be said of a flow without running it.

use std::path::Path;

use serde_json::json;

use super::{
    Failure,
    arguments::CheckArguments,
    diagnostic, folders,
    output::Output,
    style::{self, FAINT, GOOD, Paint, STRONG},
};
use crate::{
    app::Project,
    flow::{Plan, StagePlan, finding},
};

pub(super) async fn check(arguments: CheckArguments, output: Output) -> Result<u8, Failure> {
    let project = Project::open(&folders::options(arguments.flow))?;
    let findings = project.check(arguments.connect).await;
    let ok = !finding::has_errors(&findings);
    if arguments.json {
        let stages: Vec<_> = project.plan().stages().map(stage_document).collect();
        output.print_json(&json!({
            "ok": ok,
            "flow": project.plan().name,
            "digest": project.plan().digest(),
            "stages": stages,
            "findings": findings,
        }));
    } else {
        if !findings.is_empty() {
            output.print(&diagnostic::render(&findings, output.paint));
        }
        if ok {
            output.print(&fine(project.plan(), project.state_dir(), output.paint));
        }
    }
    Ok(if ok { 0 } else { 2 })
}

fn stage_document(stage: &StagePlan) -> serde_json::Value {
    json!({
        "name": stage.name,
        "kind": stage.kind,
        "plugin": stage.plugin.to_string(),
        "config_digest": stage.config_digest(),
    })
}

/// What would run.
fn fine(plan: &Plan, state: &Path, paint: Paint) -> String {
    let stage = |stage: &StagePlan| {
        let plugin = stage.plugin.to_string();
        if plugin == stage.name {
            stage.name.clone()
        } else {
            format!("{} ({plugin})", stage.name)
        }
    };
    let sinks: Vec<String> = plan.sinks.iter().map(stage).collect();
    let mut path = vec![stage(&plan.source)];
    path.extend(plan.transformers.iter().map(stage));
    path.push(sinks.join(" + "));
    format!(
        "{} {}: {}\n  {}\n",
        paint.with(GOOD, "✓"),
        paint.with(STRONG, &plan.name),
        path.join(" → "),
        paint.with(FAINT, format!("state in {}", style::path(state)))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Variables;

    #[test]
    fn a_fine_flow_is_drawn() {
        let text = "flow: a\nsource: { plugin: csv }\ntransformers: [{ name: map, plugin: mapper }]\n\
                    sinks: [{ plugin: jsonl }, { plugin: ./b.wasm }]\n";
        let plan = Plan::parse(text, Path::new("a.yaml"), &Variables::default())
            .unwrap()
            .plan;
        let drawn = fine(&plan, Path::new("/srv/.crossdock"), Paint { on: false });
        assert_eq!(
            drawn,
            "✓ a: csv → map (mapper) → jsonl + b (./b.wasm)\n  state in /srv/.crossdock\n"
        );
    }
}
