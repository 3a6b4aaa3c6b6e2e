//! Names of models as parts of a key of state.

/// Letters, digits and hyphens as they are, all else as `_` and two hexadecimal digits.
pub(super) fn token(name: &str) -> String {
    name.bytes().fold(String::new(), |mut token, byte| {
        match byte {
            b'-' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => token.push(char::from(byte)),
            _ => token.push_str(&format!("_{byte:02x}")),
        }
        token
    })
}

/// A model or a provider: `openai.gpt-5`.
pub(super) fn place(name: &str) -> String {
    name.split_once('/').map_or_else(|| token(name), |(provider, name)| format!("{}.{}", token(provider), token(name)))
}

#[test]
fn names_stay_apart() {
    assert_eq!(token("gpt-5.1"), "gpt-5_2e1");
    assert_ne!(token("a.b"), token("a_b"));
    assert_eq!((place("openai/gpt-5/x"), place("openai")), ("openai.gpt-5_2fx".to_owned(), "openai".to_owned()));
    assert!(callboard_broker::state::Key::parse(&format!("global.x.{}", token("@cf/qwen:7b+x_"))).is_ok());
}
