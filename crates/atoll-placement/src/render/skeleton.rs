//! A body with gaps where its templates' texts go: what is the same everywhere is written as JSON once.
//!
//! For objects that no Customizer touches at a destination: rendering is then joining bytes. It gives the bytes that the long
//! way gives, or there is no skeleton.

use serde_json::Value;

/// A private character: what marks a gap while the skeleton is made.
const MARK: char = '\u{e000}';

/// A body with gaps.
#[derive(Debug)]
pub(super) struct Skeleton {
    /// What follows each gap, and which text fills it.
    gaps: Vec<(usize, Box<str>)>,
    /// What comes before the first.
    start: Box<str>,
}

/// The text that stands for a gap.
pub(super) fn mark(at: usize) -> String {
    format!("{MARK}{at}{MARK}")
}

impl Skeleton {
    /// Makes a skeleton of a body whose templates were replaced by their marks. Gaps may be missing: what is the edge's has left.
    pub(super) fn of(marked: &Value, before: &Value, gaps: usize) -> Option<Skeleton> {
        if before.to_string().contains(MARK) {
            return None;
        }
        let whole = marked.to_string();
        let quote = format!("\"{MARK}");
        let mut parts = whole.split(quote.as_str());
        let start = parts.next()?.into();
        let gaps = parts
            .map(|part| {
                let (number, rest) = part.split_once(MARK)?;
                let at = number.parse().ok().filter(|at| *at < gaps)?;
                Some((at, rest.strip_prefix('"')?.into()))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Skeleton { gaps, start })
    }

    /// The body with these texts in the gaps.
    pub(super) fn fill(&self, texts: &[String]) -> Vec<u8> {
        let mut body = String::with_capacity(
            self.start.len()
                + self.gaps.iter().map(|(_, rest)| rest.len()).sum::<usize>()
                + texts.iter().map(|t| t.len() + 8).sum::<usize>(),
        );
        body.push_str(&self.start);
        for (at, rest) in &self.gaps {
            let text = texts.get(*at).map_or("", String::as_str);
            if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
                body.push('"');
                body.push_str(text);
                body.push('"');
            } else {
                body.push_str(&Value::from(text).to_string());
            }
            body.push_str(rest);
        }
        body.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filling_gaps_is_writing_the_whole() {
        let texts = ["plain".to_owned(), "q\"\\\n\u{1}ü\u{7f}".to_owned()];
        let make = |a: &str, b: &str| json!({"a": a, "b": [1, b, {"c": b}], "d": "x"});
        let before = make("{{ .a }}", "{{ .b }}");
        let skeleton = Skeleton::of(&make(&mark(0), &mark(1)), &before, 2).unwrap();
        assert_eq!(
            skeleton.fill(&texts),
            make(&texts[0], &texts[1]).to_string().into_bytes()
        );
        let marked = make("\u{e000}", "b");
        assert!(Skeleton::of(&marked, &marked, 2).is_none());
    }
}
