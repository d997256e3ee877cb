//! The descriptions of Kubernetes' own kinds and fields, read from the sources of the crate `k8s-openapi`: what its
//! `schemars` feature would say, without compiling it.
//!
//! Written as text, compressed: for each component its name, a line of its description, and a line for each field. Within a
//! line `\n` is a line's end and `\\` a backslash.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, write::ZlibEncoder};

/// Component -> its description and those of its fields.
type Descriptions = BTreeMap<String, (String, BTreeMap<String, String>)>;

/// The compressed text about all components below a folder such as `k8s-openapi-0.29.0/src/v1_36`.
pub(crate) fn derive(folder: &Path) -> Result<Vec<u8>> {
    let mut all = Descriptions::new();
    read_folder(folder, &mut all)?;
    let mut text = String::new();
    for (component, (own, fields)) in &all {
        text += &format!("{component}\n {}\n", escape(own));
        for (field, description) in fields {
            text += &format!(" {field}\t{}\n", escape(description));
        }
    }
    println!("{} components, {} bytes of text", all.len(), text.len());
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

fn read_folder(folder: &Path, all: &mut Descriptions) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, all)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            read_file(&fs::read_to_string(&path)?, all);
        }
    }
    Ok(())
}

/// One type: `// Generated from definition NAME`, and the literal in its `json_schema!`. Its own description is indented by
/// 12, a field's name by 16, what is said of the field by more.
fn read_file(source: &str, all: &mut Descriptions) {
    let component = source
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("// Generated from definition "));
    let (Some(component), Some((_, schema))) = (component, source.split_once("json_schema!({"))
    else {
        return;
    };
    let (mut own, mut fields) = (String::new(), BTreeMap::new());
    let mut field: Option<String> = None;
    for line in schema.lines() {
        let indent = line.len() - line.trim_start().len();
        let told = line
            .split_once("\"description\": \"")
            .or_else(|| line.split_once("insert(\"description\".into(), \""));
        match (indent, told, &field) {
            (12, Some((_, text)), _) => own = literal(text),
            (12, None, _) => field = None,
            (16, None, _) if line.trim_start().starts_with('"') => {
                field = line.split('"').nth(1).map(str::to_owned);
            }
            (20, Some((_, text)), Some(name)) => {
                fields.entry(name.clone()).or_insert_with(|| literal(text));
            }
            _ => {}
        }
    }
    all.insert(component.to_owned(), (own, fields));
}

/// A string literal of Rust, from behind its first quote.
fn literal(source: &str) -> String {
    let mut text = String::new();
    let mut letters = source.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(other) => text.push(other),
                None => {}
            },
            letter => text.push(letter),
        }
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}
