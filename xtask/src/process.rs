//! Running other programs.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::place;
use crate::trouble::{Result, Trouble, Trying as _};

/// `cargo`, the one that started this program, in the folder of the workspace.
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(place::workspace()?);
    Ok(cargo)
}

/// Runs a program that shows its own output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", line(command));
    let status = command.status().trying(|| format!("start `{}`", line(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(Trouble::new(format!("`{}` failed ({status}).", line(command))))
    }
}

/// Runs a program without showing anything and answers what it printed; its complaints, when it fails, are the trouble.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.output().trying(|| format!("start `{}`", line(command)))?;
    judged(&line(command), &output)
}

/// What a program that has ended printed; its complaints, if it failed, are the trouble.
pub(crate) fn judged(line: &str, output: &Output) -> Result<String> {
    let Output { status, stdout, stderr } = output;
    if status.success() {
        Ok(String::from_utf8_lossy(stdout).into_owned())
    } else {
        let complaints = String::from_utf8_lossy(stderr);
        Err(Trouble::new(format!("`{line}` failed ({status}):\n{}", complaints.trim_end())))
    }
}

/// Where a program of this name lies on the `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&name)).find(|program| program.is_file())
}

/// A command as a person would type it; an argument of many lines is a script and left out.
pub(crate) fn line(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_stem().unwrap_or(program.as_os_str());
    let shown = |word: &OsStr| match word.to_string_lossy() {
        script if script.contains('\n') => "SCRIPT".to_owned(),
        word => word.into_owned(),
    };
    std::iter::once(name).chain(command.get_args()).map(shown).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_person_would_type_it() {
        let mut command = Command::new("/usr/bin/node");
        command.args(["-e", "one\ntwo", "three"]);
        assert_eq!(line(&command), "node -e SCRIPT three");
    }
}
