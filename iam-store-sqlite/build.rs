//! Has the crate compiled anew when a migration or what is known of a statement changes: the macros alone do not.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=.sqlx");
}
