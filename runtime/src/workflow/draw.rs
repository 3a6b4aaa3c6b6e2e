//! Draws the graph of a workflow: as text, or in the languages of two programs that draw.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::document::WorkflowDoc;
use super::graph::Graph;

/// In which language a graph is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drawing {
    /// Lines of text; each task stands once, below the last of those that it waits for.
    #[default]
    Tree,
    /// The same without characters beyond ASCII.
    Ascii,
    /// A Mermaid flowchart.
    Mermaid,
    /// A digraph of Graphviz.
    Dot,
}

/// Draws a workflow. `note` gives what is to stand beside a task, its capability or its status; nothing when empty.
pub fn draw(doc: &WorkflowDoc, graph: &Graph, form: Drawing, note: &dyn Fn(&str) -> String) -> String {
    match form {
        Drawing::Tree => tree(graph, note, ["├─ ", "└─ ", "│  "]),
        Drawing::Ascii => tree(graph, note, ["|- ", "`- ", "|  "]),
        Drawing::Mermaid => mermaid(graph, note),
        Drawing::Dot => dot(&doc.name, graph, note),
    }
}

/// The capability of each task, or that it is only described: what usually stands beside it.
pub fn capabilities(doc: &WorkflowDoc) -> impl Fn(&str) -> String {
    move |id| {
        let task = doc.task(id);
        task.map(|task| task.capability.clone().unwrap_or_else(|| "(described)".to_owned())).unwrap_or_default()
    }
}

fn tree(graph: &Graph, note: &dyn Fn(&str) -> String, lines: [&str; 3]) -> String {
    let mut depth: BTreeMap<&str, usize> = BTreeMap::new();
    let mut below: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for id in graph.ids() {
        let depth_of = |dep: &&str| depth.get(dep).copied().unwrap_or(0);
        let parent = graph.after(id).max_by_key(depth_of);
        below.entry(parent).or_default().push(id);
        depth.insert(id, parent.map_or(0, |parent| depth_of(&parent) + 1));
    }
    let mut rows: Vec<(String, String)> = Vec::new();
    // A stack rather than recursion: a chain of tasks may be as long as a workflow may be.
    let mut open: Vec<(&str, String, bool)> = Vec::new();
    let tops = below.get(&None).cloned().unwrap_or_default();
    open.extend(tops.iter().rev().map(|id| (*id, String::new(), true)));
    while let Some((id, indent, last)) = open.pop() {
        let top = depth.get(id) == Some(&0);
        let own = if top { "" } else { lines[usize::from(last)] };
        let parent = graph.after(id).max_by_key(|dep| depth.get(dep).copied().unwrap_or(0));
        let others: Vec<&str> = graph.after(id).filter(|dep| Some(*dep) != parent).collect();
        let also = if others.is_empty() { String::new() } else { format!("  also after {}", others.join(", ")) };
        rows.push((format!("{indent}{own}{id}"), format!("{}{also}", note(id))));
        let indent = match (top, last) {
            (true, _) => indent,
            (_, true) => indent + "   ",
            (_, false) => indent + lines[2],
        };
        let children = below.get(&Some(id)).cloned().unwrap_or_default();
        let children = children.iter().enumerate().rev();
        open.extend(children.clone().map(|(n, child)| (*child, indent.clone(), n + 1 == children.len())));
    }
    let wide = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    let row = |(left, right): &(String, String)| format!("{left:wide$}  {right}").trim_end().to_owned() + "\n";
    rows.iter().map(row).collect()
}

fn mermaid(graph: &Graph, note: &dyn Fn(&str) -> String) -> String {
    // Numbers name the nodes, because ids such as `end` are words of the language.
    let numbers: BTreeMap<&str, usize> = graph.ids().enumerate().map(|(n, id)| (id, n)).collect();
    let mut text = String::from("flowchart TD\n");
    for id in graph.ids() {
        let label = label(id, &note(id), "<br/>").replace('"', "#quot;");
        let _ = writeln!(text, "  t{}[\"{label}\"]", numbers[id]);
    }
    for id in graph.ids() {
        for dep in graph.after(id) {
            let _ = writeln!(text, "  t{} --> t{}", numbers[dep], numbers[id]);
        }
    }
    text
}

fn dot(name: &str, graph: &Graph, note: &dyn Fn(&str) -> String) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = format!("digraph {} {{\n  rankdir = LR;\n  node [shape = box];\n", quoted(name));
    for id in graph.ids() {
        let label = quoted(&label(id, &note(id), "\n")).replace('\n', "\\n");
        let _ = writeln!(text, "  {} [label = {label}];", quoted(id));
    }
    for id in graph.ids() {
        for dep in graph.after(id) {
            let _ = writeln!(text, "  {} -> {};", quoted(dep), quoted(id));
        }
    }
    text + "}\n"
}

fn label(id: &str, note: &str, between: &str) -> String {
    if note.is_empty() { id.to_owned() } else { format!("{id}{between}{note}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> (WorkflowDoc, Graph) {
        let text = r#"
            name = "intro"
            [[task]]
            id = "research"
            capability = "research.web"
            [[task]]
            id = "end"
            capability = "content.writer"
            depends_on = ["research"]
            [[task]]
            id = "check"
            description = "check {{end}} against {{research}}"
            [[task]]
            id = "style"
            capability = "qa.style"
            input = "{{end}}"
            [[task]]
            id = "alone"
            capability = "diag.echo"
        "#;
        let doc = WorkflowDoc::from_toml("f.toml", text, None).unwrap();
        let graph = doc.check(None).unwrap();
        (doc, graph)
    }

    #[test]
    fn a_task_stands_below_the_last_it_waits_for() {
        let (doc, graph) = flow();
        let text = draw(&doc, &graph, Drawing::Tree, &capabilities(&doc));
        assert_eq!(
            text,
            "research     research.web\n\
             └─ end       content.writer\n   \
                ├─ check  (described)  also after research\n   \
                └─ style  qa.style\n\
             alone        diag.echo\n"
        );
        assert!(draw(&doc, &graph, Drawing::Ascii, &capabilities(&doc)).is_ascii());
    }

    #[test]
    fn programs_that_draw_get_words_they_cannot_mistake() {
        let (doc, graph) = flow();
        let text = draw(&doc, &graph, Drawing::Mermaid, &|id| format!("\"{id}\""));
        assert!(text.starts_with("flowchart TD\n  t0[\"research<br/>#quot;research#quot;\"]\n"), "{text}");
        assert_eq!(text.matches(" --> ").count(), 4);
        assert!(!text.contains("end["), "{text}");
        let text = draw(&doc, &graph, Drawing::Dot, &|id| format!("\"{id}\""));
        assert!(text.contains("  \"end\" [label = \"end\\n\\\"end\\\"\"];\n"), "{text}");
        assert!(text.contains("  \"end\" -> \"check\";\n"), "{text}");
    }
}
