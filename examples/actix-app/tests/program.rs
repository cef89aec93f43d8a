//! The program itself, as a process of its own: killed, and pressed hard.

iam_tests::program_tests!(env!("CARGO_BIN_EXE_actix-app"));
