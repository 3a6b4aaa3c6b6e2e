//! Keys, which cannot be printed.

use std::fmt;

/// Something that nobody may read who has no need to. It has no `Display`, its `Debug` does not show it, and it cannot be
/// serialized: what holds one can be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// What stands in the place of a secret.
const HIDDEN: &str = "[secret]";

impl Secret {
    /// This, from now on hidden. White space around it is left out, for it comes from files.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().trim().into())
    }

    /// This to the letter, from now on hidden: for what comes from where white space means something.
    pub fn exact(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }

    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text of somebody who knows the secret, without it.
    pub fn hide(&self, text: &str) -> String {
        if self.is_empty() { text.to_owned() } else { text.replace(&*self.0, HIDDEN) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}
