//! The commands of the documents for operators are commands that there are.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The lines between ```sh and ``` that run the program, without their comments.
fn commands(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(path).unwrap();
    let mut commands = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            let line = line.split(" # ").next().unwrap();
            if let Some(command) = line.trim().strip_prefix("imserver ") {
                commands.push(command.trim().to_owned());
            }
        }
    }
    commands
}

#[test]
fn every_command_of_the_runbook_is_there_with_its_options() {
    for document in [
        "docs/operations.md",
        "docs/admin.md",
        "docs/durability.md",
        "docs/cluster.md",
        "docs/runbook.md",
    ] {
        let commands = commands(document);
        assert!(document != "docs/operations.md" || commands.len() >= 15, "{commands:?}");
        for command in commands {
            let words: Vec<&str> = command.split_whitespace().collect();
            // The names come first: what is no plain word is an argument.
            let is_name = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase());
            let names: Vec<&str> = words.iter().take_while(is_name).copied().collect();
            let output = Command::new(env!("CARGO_BIN_EXE_imserver"))
                .args(&names)
                .arg("--help")
                .output()
                .unwrap();
            let help = String::from_utf8_lossy(&output.stdout);
            // clap prints the help of the last name it knows, or complains.
            let known = help.contains(&format!("Usage: imserver {}", names.join(" ")));
            assert!(output.status.success() && known, "{document}: imserver {command}\n{help}");
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{document}: imserver {command} has no {option}");
            }
        }
    }
}
