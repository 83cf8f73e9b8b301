//! "Did you mean": the nearest of some valid names.

/// The candidates that `text` is most likely a misspelling of, best first, at most three; none
/// where it is like none of them.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted: Vec<char> = text.chars().take(64).flat_map(char::to_lowercase).collect();
    let limit = wanted.len().div_ceil(3);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let chars: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            let word = candidate.split(['-', '.', '/']).any(|word| word.eq_ignore_ascii_case(text));
            let longer = wanted.starts_with(&chars) && chars.len() * 2 > wanted.len();
            let shorter = chars.starts_with(&wanted) && wanted.len() * 2 > chars.len();
            let part = wanted.len() >= 3 && (word || longer || shorter);
            let distance = if part { 1 } else { distance(&wanted, &chars) };
            (distance <= limit).then_some((distance, candidate))
        })
        .collect();
    found.sort_by_key(|(distance, _)| *distance);
    let best = found.first().map_or(0, |(distance, _)| *distance);
    found.into_iter().filter(|(distance, _)| *distance == best).map(|(_, candidate)| candidate).take(3).collect()
}

/// Edits (insert, delete, replace, swap two neighbours) from one text to the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, right) in b.iter().enumerate() {
            row[j + 1] = (above[j] + usize::from(left != right)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_recognized() {
        let keys = ["entrypoint", "env", "expose", "user", "cmd", "stop-signal", "libc", "glibc", "volumes"];
        for (text, expect) in [
            ("entrypont", vec!["entrypoint"]),
            ("Entrypoint", vec!["entrypoint"]),
            ("evn", vec!["env"]),
            ("stop_signal", vec!["stop-signal"]),
            ("stopsignal", vec!["stop-signal"]),
            ("signal", vec!["stop-signal"]),
            ("lib", vec!["libc"]),
            ("environment", vec![]),
            ("entry", vec![]),
            ("entrypoints", vec!["entrypoint"]),
            ("volume", vec!["volumes"]),
            ("command", vec![]),
            ("x", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(nearest(text, keys), expect, "{text}");
        }
    }
}
