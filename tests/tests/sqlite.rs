//! The contract suite over the SQLite wing.

mod on_sqlite {
    callboard_tests::contract!(callboard_tests::sqlite::Files::default);
}
