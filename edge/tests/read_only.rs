//! The agent has no way to write: none of its sources names an OPC UA service that changes equipment.

#![allow(clippy::unwrap_used)] // A test may panic, and so may what it is made of.

use std::path::{Path, PathBuf};

/// Services that change a server or its equipment (OPC UA Part 4 §5.8, §5.11, §5.12), as the library names
/// their requests and the methods of its session.
const CHANGING: [&str; 22] = [
    "Write::",
    "Call::",
    "HistoryUpdate",
    "AddNodes",
    "AddReferences",
    "DeleteNodes",
    "DeleteReferences",
    "WriteValue",
    "WriteRequest",
    "CallMethodRequest",
    "CallRequest",
    "RegisterServer",
    "SetTriggering",
    "session.write(",
    "session().write(",
    ".call(",
    ".call_one(",
    ".history_update(",
    ".add_nodes(",
    ".add_references(",
    ".delete_nodes(",
    "services::*",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

// control: A11
#[test]
fn the_agent_names_no_service_that_changes_equipment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join("bin/batchcortex-edge.rs"), root.join("durable_file.rs")];
    sources(&root.join("agent"), &mut files);
    assert!(
        files.len() > 10,
        "the sources of the agent are where this test looks"
    );
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for name in CHANGING {
            assert!(!text.contains(name), "{} names {name}", file.display());
        }
        // Services are taken by name, so that the list above sees each of them.
        let imports_all = text
            .lines()
            .any(|line| line.contains("opcua::") && line.contains("::*"));
        assert!(
            !imports_all,
            "{} takes everything of a module of the library",
            file.display()
        );
    }
}
