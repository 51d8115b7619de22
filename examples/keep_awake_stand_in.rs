//! What holds off sleep for the tests on Windows, which put it on the program's PATH as
//! powershell.exe. It grants all and holds nothing.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "held idle:sleep")?;
    out.flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
