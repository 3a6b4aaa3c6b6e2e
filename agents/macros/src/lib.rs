//! `#[payload]`: derives what a type needs to travel between agents.
//!
//! It stands for three derives whose paths lead through Callboard's re-exports, so that a user's crate depends on
//! `callboard` and `tokio` and on nothing else. It reads no syntax of the type itself: whatever serde and schemars
//! accept (`rename_all`, `default`, generics, doc comments) stays as it is.

use proc_macro::{TokenStream, TokenTree};

/// Derives `Serialize`, `Deserialize` and a JSON Schema, which doc comments reach as descriptions.
///
/// `#[payload(crate = name)]` says under which name the crate is known where it is not `callboard`.
#[proc_macro_attribute]
pub fn payload(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let Some(private) = private(arguments) else {
        return error("write `#[payload]`, or `#[payload(crate = name)]` where the crate has another name");
    };
    let derives = format!(
        "#[derive({private}::serde::Serialize, {private}::serde::Deserialize, {private}::schemars::JsonSchema)]
         #[serde(crate = \"{private}::serde\")]
         #[schemars(crate = \"{private}::schemars\")]"
    );
    let mut out: TokenStream = match derives.parse() {
        Ok(tokens) => tokens,
        Err(_) => return error("the name after `crate =` is not a path"),
    };
    out.extend(item);
    out
}

/// The path of the re-exports: a single name is a crate's, anything else is taken as it is written.
fn private(arguments: TokenStream) -> Option<String> {
    let arguments: Vec<TokenTree> = arguments.into_iter().collect();
    let root = match arguments.as_slice() {
        [] => "::callboard".to_owned(),
        [TokenTree::Ident(key), TokenTree::Punct(is), name @ ..]
            if key.to_string() == "crate" && is.as_char() == '=' =>
        {
            match name {
                [] => return None,
                [TokenTree::Ident(name)] if name.to_string() != "crate" => format!("::{name}"),
                path => path.iter().map(ToString::to_string).collect(),
            }
        }
        _ => return None,
    };
    Some(format!("{root}::__private"))
}

fn error(message: &str) -> TokenStream {
    format!("compile_error!({message:?});").parse().unwrap_or_default()
}
