//! Which of the names that exist a person may have meant.

/// The names in the order of their distance to `wanted`; equally near ones keep their order.
pub fn nearest<S: AsRef<str>>(wanted: &str, names: impl IntoIterator<Item = S>) -> Vec<String> {
    let mut ranked: Vec<(usize, String)> =
        names.into_iter().map(|name| (distance(wanted, name.as_ref()), name.as_ref().to_owned())).collect();
    ranked.sort_by_key(|(far, _)| *far);
    ranked.into_iter().map(|(_, name)| name).collect()
}

/// The nearest name, when it is near enough to be offered as the cure: at most a third of its letters differ.
pub fn closest<S: AsRef<str>>(wanted: &str, names: impl IntoIterator<Item = S>) -> Option<String> {
    let best = nearest(wanted, names).into_iter().next()?;
    let letters = wanted.chars().count().max(best.chars().count());
    (distance(wanted, &best) <= (letters / 3).max(1)).then_some(best)
}

/// The names that we compare are short; of anything longer only the beginning counts, so that input cannot make it slow.
const COMPARED: usize = 80;

/// Letters to insert, remove or exchange (two swapped neighbours are one), upper and lower case being the same.
fn distance(a: &str, b: &str) -> usize {
    let letters = |s: &str| s.chars().take(COMPARED).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = exchanged.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
