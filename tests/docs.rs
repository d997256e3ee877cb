//! The commands of the README and of `docs/`, executed as a reader would: in order, in one scratch directory per page.
//!
//! A fenced `sh` block is executed when the line before it is an HTML comment that says where it runs:
//!
//! | comment | what is there |
//! |---|---|
//! | `<!-- run: nowhere -->` | an empty directory, `atoll` and `kubectl` on the PATH |
//! | `<!-- run: center -->` | also a center in `.atoll` with `root:inventory` and the payload workspace `root:demo`; `KUBECONFIG` names it, and `root:demo` is current |
//! | `<!-- run: edge -->` | also the sandbox edge `berlin` (directory `berlin`), labelled `site=berlin`, with its agent connected |
//! | `<!-- run: another terminal -->` | what was there already; the block goes on running beside the following ones |
//!
//! What is there for one block is there for all that follow on the page. `examples/` is there for all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::harness::{ATOLL, Answer, Center, Process, eventually_within, kubectl_binary, scratch};

/// A command that takes longer than this is taken to hang.
const SECONDS_PER_BLOCK: &str = "60";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SetUp {
    Nowhere,
    Center,
    Edge,
}

#[derive(Debug, PartialEq, Eq)]
struct Block {
    line: usize,
    /// `None`: in another terminal.
    set_up: Option<SetUp>,
    commands: String,
}

/// The blocks to execute. A marker that means nothing, or that no block follows, is a mistake of the page.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(marker) = line
            .strip_prefix("<!-- run: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        else {
            continue;
        };
        let line = number + 1;
        let set_up = match marker {
            "nowhere" => Some(SetUp::Nowhere),
            "center" => Some(SetUp::Center),
            "edge" => Some(SetUp::Edge),
            "another terminal" => None,
            other => return Err(format!("line {line}: there is no set-up {other:?}")),
        };
        if lines.next().is_none_or(|(_, fence)| fence != "```sh") {
            return Err(format!("line {line}: a ```sh block must follow"));
        }
        let mut commands = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            commands.push_str(line);
            commands.push('\n');
        }
        found.push(Block {
            line,
            set_up,
            commands,
        });
    }
    Ok(found)
}

/// What a page's commands run in. Fields are dropped in order: agents before edges before the center.
struct Place {
    others: Vec<Process>,
    edge: Option<[Process; 2]>,
    center: Option<Center>,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = scratch();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        std::os::unix::fs::symlink(examples, directory.path().join("examples"))
            .expect("a link to the examples");
        Place {
            others: Vec::new(),
            edge: None,
            center: None,
            directory,
        }
    }

    fn provide(&mut self, set_up: SetUp) {
        if set_up >= SetUp::Center && self.center.is_none() {
            let center = Center::start(&self.directory.path().join(".atoll"));
            center.workspace("root", "inventory", "inventory");
            center.workspace("root", "demo", "payload");
            center.atoll(&["ws", ":root:demo"]).expect();
            self.center = Some(center);
        }
        if set_up >= SetUp::Edge && self.edge.is_none() {
            self.run("atoll edges add berlin --label site=berlin --inventory root:inventory -o berlin.join.yaml")
                .expect();
            let sandbox = self.begin("atoll sandbox --root-directory berlin");
            eventually_within(
                Duration::from_secs(10),
                "the sandbox is ready",
                || match sandbox.output().contains("ready at") {
                    true => Ok(()),
                    false => Err(sandbox.output()),
                },
            );
            let agent = self.begin("atoll agent --join berlin.join.yaml --kubeconfig berlin/admin.kubeconfig --state-directory berlin-agent");
            self.edge = Some([agent, sandbox]);
            let available = "--for=condition=ManagedClusterConditionAvailable";
            let center = self
                .center
                .as_ref()
                .expect("an edge comes after its center");
            center
                .kubectl(
                    "root:inventory",
                    &["wait", "managedcluster/berlin", available, "--timeout=30s"],
                )
                .expect();
        }
    }

    fn shell(&self, commands: &str, limit: Option<&str>) -> Command {
        let folder = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
        let mut path = vec![folder(Path::new(ATOLL)), folder(kubectl_binary())];
        path.retain(|folder| !folder.as_os_str().is_empty());
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let mut command = Command::new(if limit.is_some() { "timeout" } else { "bash" });
        if let Some(seconds) = limit {
            command.args([seconds, "bash"]);
        }
        command
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(self.directory.path())
            .env("PATH", std::env::join_paths(path).expect("a PATH"))
            .env(
                "KUBECONFIG",
                self.directory.path().join(".atoll/admin.kubeconfig"),
            )
            .env("KUBECACHEDIR", self.directory.path().join("cache"));
        command
    }

    fn run(&self, commands: &str) -> Answer {
        Answer::of(&mut self.shell(commands, Some(SECONDS_PER_BLOCK)))
    }

    /// Starts commands that go on; they are `exec`ed, so that ending the process ends them.
    fn begin(&self, commands: &str) -> Process {
        let log = self
            .directory
            .path()
            .join(format!("terminal-{:x}.log", rand_suffix(commands)));
        Process::start(
            &mut self.shell(&format!("exec {}", commands.trim()), None),
            &log,
        )
    }

    fn execute(&mut self, block: &Block) -> Result<(), String> {
        let Some(set_up) = block.set_up else {
            let process = self.begin(&block.commands);
            // Most say when they are ready; one that says nothing is given a moment.
            for _ in 0..20 {
                if !process.output().is_empty() {
                    break;
                }
                thread::sleep(Duration::from_millis(100));
            }
            self.others.insert(0, process);
            return Ok(());
        };
        self.provide(set_up);
        let answer = self.run(&block.commands);
        if answer.ok {
            return Ok(());
        }
        let others: Vec<String> = self.others.iter().map(Process::output).collect();
        Err(format!(
            "exit {:?}\n{}{}\nin other terminals: {others:?}",
            answer.code, answer.stdout, answer.stderr
        ))
    }
}

fn rand_suffix(commands: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    commands.hash(&mut hasher);
    hasher.finish()
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).expect("docs/") {
        let path = entry.expect("an entry of docs/").path();
        if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

fn follow(page: &Path) -> Result<usize, String> {
    let text = fs::read_to_string(page).map_err(|e| e.to_string())?;
    let blocks = blocks(&text)?;
    let mut place = Place::new();
    for block in &blocks {
        place
            .execute(block)
            .map_err(|why| format!("line {}:\n{}{why}", block.line, block.commands))?;
    }
    Ok(blocks.len())
}

#[test]
fn the_commands_in_the_docs_work() {
    let pages = pages();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = pages
            .iter()
            .map(|page| scope.spawn(|| follow(page)))
            .collect();
        running.into_iter().map(|page| page.join()).collect()
    });
    let mut executed = 0;
    let mut failed = String::new();
    for (page, outcome) in pages.iter().zip(outcomes) {
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        match outcome {
            Ok(Ok(blocks)) => executed += blocks,
            Ok(Err(why)) => failed += &format!("{name}, {why}\n"),
            Err(_) => failed += &format!("{name}: its set-up failed (see above)\n"),
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(
        executed > 10,
        "only {executed} blocks are marked to be executed"
    );
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|r| r.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let folder = page.parent().expect("a folder");
            assert!(
                folder.join(file).exists(),
                "{}: {target} leads nowhere",
                page.display()
            );
        }
    }
}

/// All Rust source below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            *into += &fs::read_to_string(&path).expect("a source file");
        }
    }
}

#[test]
fn the_architecture_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = String::new();
    for folder in ["crates", "tests"] {
        sources(&root.join(folder), &mut code);
    }
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    // Names of tests are sentences: many words, all small.
    let names: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() > 2)
        .filter(|word| {
            word.chars()
                .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        })
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(
            code.contains(&format!("fn {name}(")),
            "there is no test {name}"
        );
    }
}

#[test]
fn only_marked_blocks_are_executed() {
    let page = "text\n```sh\nunmarked\n```\n<!-- run: center -->\n```sh\na\nb\n```\n<!-- run: another terminal -->\n```sh\nc\n```\n";
    let found = blocks(page).expect("a page without mistakes");
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[0],
        Block {
            line: 5,
            set_up: Some(SetUp::Center),
            commands: "a\nb\n".to_owned()
        }
    );
    assert_eq!(found[1].set_up, None);
    for (mistake, why) in [
        ("<!-- run: moon -->\n```sh\n```\n", "no set-up \"moon\""),
        ("<!-- run: center -->\ntext\n", "must follow"),
    ] {
        let said = blocks(mistake).expect_err("a mistake");
        assert!(said.contains(why), "{said}");
    }
}
