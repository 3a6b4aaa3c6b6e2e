//! One check of the suite by its name: for a process that is to run just this one.

use std::sync::Arc;

use super::bench::{Wing, in_flowing_time, in_real_time, in_still_time};

/// Runs the check, race or storm of this name over `wing`. False when there is none.
pub fn run(name: &str, wing: Arc<dyn Wing>) -> bool {
    crate::for_each_check!(run_if_named in_still_time name wing);
    crate::for_each_race!(run_if_named in_real_time name wing);
    crate::for_each_storm!(run_if_named in_flowing_time name wing);
    false
}

/// Runs a check and returns, if it is the one.
#[doc(hidden)]
#[macro_export]
macro_rules! run_if_named {
    (($time:ident $name:ident $wing:ident) $room:ident $check:ident) => {
        if $name == stringify!($check) {
            $time($wing, $crate::contract::$room::$check);
            return true;
        }
    };
}

/// One test for each check, race and storm, which hands its name to a function: `by_name!(dies)`.
#[macro_export]
macro_rules! by_name {
    ($tell:ident) => {
        $crate::for_each_check!(test_by_name $tell);
        $crate::for_each_race!(test_by_name $tell);
        $crate::for_each_storm!(test_by_name $tell);
    };
}

/// One of them.
#[doc(hidden)]
#[macro_export]
macro_rules! test_by_name {
    (($tell:ident) $room:ident $check:ident) => {
        #[test]
        fn $check() {
            $tell(stringify!($check));
        }
    };
}
