//! What is said to all: broadcast channels and kinds of facts.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use callboard_broker::subject;

use crate::service::Hearing;
use crate::{Context, Payload, Result, Service};

/// A broadcast channel: `const PRICES: Topic<Price> = Topic::new("prices")`.
pub struct Topic<T> {
    name: &'static str,
    types: PhantomData<fn(T) -> T>,
}

impl<T: Payload> Topic<T> {
    /// The topic of this name: tokens of letters, digits, `_` and `-`, joined by dots. Whatever is sent to `all` reaches
    /// every agent.
    ///
    /// # Panics
    /// On any other name; in a `const`, that is an error of compilation.
    pub const fn new(name: &'static str) -> Self {
        assert!(subject::is_path(name), "a topic is letters, digits, `_`, `-` and dots: write `prices`");
        Self { name, types: PhantomData }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A kind of fact in the stream of events: `const PAID: EventKind<Paid> = EventKind::new("shop.paid")`.
pub struct EventKind<T> {
    name: &'static str,
    types: PhantomData<fn(T) -> T>,
}

impl<T: Payload> EventKind<T> {
    /// The kind of this name: two or more lowercase words joined by dots, in the past tense.
    ///
    /// # Panics
    /// On any other name; in a `const`, that is an error of compilation.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_kind(name), "a kind of event is two or more lowercase words joined by dots: write `shop.paid`");
        Self { name, types: PhantomData }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

const fn is_kind(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (mut i, mut dotted) = (0, false);
    while i < bytes.len() {
        if bytes[i].is_ascii_uppercase() {
            return false;
        }
        dotted |= bytes[i] == b'.';
        i += 1;
    }
    dotted && bytes.len() <= callboard_broker::event::MAX_TYPE && subject::is_path(name)
}

impl Service {
    /// Calls `f` for each broadcast of a topic but the agent's own, one after the other. What `f` fails with is logged.
    pub fn hears<T, F, Fut>(mut self, topic: Topic<T>, f: F) -> Self
    where
        T: Payload,
        F: Fn(Context, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let f = Arc::new(f);
        let hear = Arc::new(move |ctx: Context, body: callboard_broker::payload::Payload| {
            let f = f.clone();
            let heard: callboard_broker::BoxFuture<'static, Result<()>> =
                Box::pin(async move { f(ctx, body.take::<T>()?).await });
            heard
        });
        self.options.hears.push(Hearing { topic: topic.name.into(), hear });
        self
    }
}

macro_rules! name_of {
    ($name:ident) => {
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<T> Copy for $name<T> {}
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.name)
            }
        }
    };
}
name_of!(Topic);
name_of!(EventKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_event_is_two_lowercase_words_or_more() {
        assert!(is_kind("shop.paid") && is_kind("shop.order_1.paid"));
        for bad in ["paid", "Shop.paid", "shop.", "shop paid", "", &"a.".repeat(60)] {
            assert!(!is_kind(bad), "{bad}");
        }
    }
}
