//! `configure` itself: asks, tries, writes.

use std::path::Path;

use serde_json::Value;

use super::check::{Finding, check};
use super::profile::{Change, open, parse_mode, put, set_current};
use super::wording::{NOTHING, Wording};
use crate::app::{Done, Message, Result, UsageError, query};
use crate::cli::{Configure, Global};
use crate::cloud::{Verdict, regions};
use crate::credentials::edit::{Document, Entry};
use crate::credentials::form::{self, Mode, Need, Question, REGION};
use crate::credentials::store::{self, Store};
use crate::credentials::{Error, home, in_home, resolve_as_if, shell_word};
use crate::explain::{ExitCode, Explain, Report, printable};
use crate::platform::prompt::{Answer, Dialogue, Stop};
use crate::platform::replace::Destination;
use crate::platform::signals::Signal;

/// How often a prompt is repeated after an invalid answer.
const TRIES: u32 = 3;

/// Why no profile was saved.
enum Left {
    Stopped(Stop),
    Failed(Box<dyn Explain>),
}

impl From<Stop> for Left {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl From<Box<dyn Explain>> for Left {
    fn from(error: Box<dyn Explain>) -> Self {
        Self::Failed(error)
    }
}

/// The profile that is edited.
struct Profile<'a> {
    store: &'a Store,
    name: &'a str,
    mode: &'static Mode,
    path: &'a Path,
    /// The profile as it was when the prompts began.
    before: Option<Entry>,
    wording: Wording,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: &Configure) -> Result<Done> {
    let store = open(global)?;
    let name = store.name(global.profile.as_deref());
    let before = store.find(&name).map(|found| found.entry);
    let present = before.as_ref().map(form::mode_of);
    let mode = args.mode.clone().or(present).unwrap_or_else(|| "AK".to_owned());
    let mode = parse_mode(&mode, &name)?;
    let path = store.file_of(&name).to_owned();
    let wording = Wording::of(global);
    let profile = Profile { store: &store, name: &name, mode, path: &path, before, wording };
    let mut dialogue = Dialogue::new()?;
    Destination::of(&path).and_then(|place| place.probe()).map_err(Error::from)?;
    let done = talk(&mut dialogue, global, args, &profile).await;
    if let Err(Left::Stopped(_)) = done {
        // The terminal may have gone.
        let _ = dialogue.say("nothing was written");
    }
    match done {
        Ok(done) => Ok(done),
        Err(Left::Failed(error)) => Err(error),
        Err(Left::Stopped(Stop::By(signal))) => Ok(Done::By(signal)),
        // The input has ended before the last answer.
        Err(Left::Stopped(Stop::Closed)) => Ok(Done::Code(ExitCode::Failed as u8)),
        Err(Left::Stopped(Stop::TooLong)) => {
            Err(Message("the answer is longer than any can be".to_owned()).into())
        }
    }
}

async fn talk(
    dialogue: &mut Dialogue,
    global: &Global,
    args: &Configure,
    profile: &Profile<'_>,
) -> std::result::Result<Done, Left> {
    let Profile { name, mode, path, wording, .. } = *profile;
    let shown = printable(name);
    let others = match args.mode {
        Some(_) => "",
        None => " (others: --mode MODE; ecs-bridge configure --help lists them)",
    };
    let before = profile.before.as_ref().map(form::mode_of);
    if let Some(text) = before.and_then(|before| wording.other_mode(name, &before, mode.name)) {
        dialogue.say(&text)?;
    }
    let file = path.display().to_string();
    dialogue.say(&wording.heading(name, mode.name, &file, others))?;
    let mut changes: Vec<Change> = vec![("mode", Some(mode.name.into()))];
    loop {
        for question in wording.questions(mode) {
            let field = question.field;
            if let Some(text) = wording.before(question) {
                dialogue.say(text)?;
            }
            let answer = ask(dialogue, global, profile, &changes, question).await?;
            if let Some(value) = answer {
                changes.retain(|(name, _)| *name != field);
                changes.push((field, value));
            }
        }
        changes.retain(|(name, value)| profile.present(name) != value.as_ref());
        if args.no_check {
            break;
        }
        let finding = try_out(dialogue, global, profile, &changes).await?;
        let Some(code) = show(dialogue, finding).await? else { break };
        if !is_yes(dialogue, "change the answers and try again? [Y/n]: ", true).await? {
            dialogue.say("nothing was written")?;
            dialogue.say(&format!(
                "once the cause is removed: ecs-bridge configure --mode {} --profile {}; with \
                 --no-check the profile is written untested",
                mode.name,
                shell_word(name)
            ))?;
            return Ok(Done::Code(code));
        }
        dialogue.say("Enter keeps an answer")?;
    }
    let is_current = profile.store.current().as_deref() == Some(name);
    if changes.is_empty() && (wording == Wording::Own || is_current) {
        dialogue.say(&format!("profile '{shown}' is as it was"))?;
        return Ok(Done::Normally);
    }
    let is_first = profile.store.current().is_none();
    let writing = async {
        store::change(path, |document| {
            let now = document.profile(name);
            let is_as_before = match (&profile.before, &now) {
                (Some(before), Some(now)) => before == now,
                (None, None) => true,
                _ => false,
            };
            if !is_as_before {
                return Err(Error::Changed { name: name.to_owned(), path: path.to_owned() });
            }
            put(document, path, name, &changes)?;
            if is_first && document.current().is_none() {
                document.set_current(name);
            }
            Ok(())
        })
        .await?;
        match wording {
            Wording::Own => Ok(()),
            Wording::Vendor => set_current(profile.store, name).await,
        }
    };
    // A signal here leaves the files unchanged or complete.
    dialogue.wait_for(writing).await?.map_err(|error| Left::Failed(error.into()))?;
    dialogue.say(&wording.written(name, &file))?;
    if wording == Wording::Vendor {
        return Ok(Done::Normally);
    }
    if !is_first && !is_current {
        let word = shell_word(name);
        let how = format!("use it with --profile {word}, or: ecs-bridge configure switch {word}");
        dialogue.say(&how)?;
    }
    if !global.quiet {
        dialogue.say(&next_step(name, is_first || is_current))?;
    }
    Ok(Done::Normally)
}

/// What to do once a profile is written.
fn next_step(name: &str, is_current: bool) -> String {
    let option = match is_current {
        true => String::new(),
        false => format!(" --profile {}", shell_word(name)),
    };
    format!("next: ecs-bridge ssh-config --write{option}, then ssh root@i-…")
}

impl Profile<'_> {
    fn present(&self, field: &str) -> Option<&Value> {
        self.before.as_ref()?.get(field).filter(|value| !value.is_null() && *value != "")
    }

    /// Checks an answer: why it is invalid.
    fn check(&self, field: &str, text: &str) -> std::result::Result<Value, String> {
        match field {
            "access_key_id" if self.mode.name == "AK" && text.starts_with("STS.") => {
                Err("a key that begins with STS. is temporary: use mode StsToken".to_owned())
            }
            "source_profile" if text == self.name => {
                Err("a profile cannot take its keys from itself".to_owned())
            }
            "source_profile" if self.store.find(text).is_none() => {
                let names: Vec<_> =
                    self.store.profiles().into_iter().map(|found| found.entry.name).collect();
                Err(format!(
                    "there is no such profile; there are: {}",
                    printable(&names.join(", "))
                ))
            }
            // No shell expands the tilde of an answer.
            "oidc_token_file" => {
                let path = in_home(Path::new(text), home().as_deref());
                form::check(field, &path.to_string_lossy())
            }
            _ => form::check(field, text),
        }
    }
}

/// Asks for a field, which may have been answered before. `None` if it stays as it is.
async fn ask(
    dialogue: &mut Dialogue,
    global: &Global,
    profile: &Profile<'_>,
    changes: &[Change],
    question: Question,
) -> std::result::Result<Option<Option<Value>>, Left> {
    let Question { field, need } = question;
    let present = match changes.iter().find(|(name, _)| *name == field) {
        Some((_, answered)) => answered.as_ref(),
        None => profile.present(field),
    };
    let usual = match need {
        Need::Usually(value) => Some(value),
        Need::Must if field == REGION.field => global.region.as_deref(),
        Need::Must | Need::May => None,
    };
    let offered = match (present, usual) {
        (Some(value), _) => Some(printable(&form::shown(field, value))),
        (None, usual) => usual.map(printable),
    };
    let prompt = profile.wording.prompt(question, offered.as_deref());
    let mut tries = 0;
    loop {
        let answer: Answer = match form::is_secret(field) {
            true => dialogue.ask_unseen(&prompt).await?,
            false => dialogue.ask(&prompt).await?,
        };
        let problem = match (answer.trim(), present, usual) {
            ("", Some(_), _) => return Ok(None),
            ("", None, None) if need == Need::May => return Ok(None),
            ("", None, None) => "it is needed".to_owned(),
            (NOTHING, present, _) if need == Need::May => {
                return Ok(present.map(|_| None));
            }
            (text, _, usual) => {
                let text = if text.is_empty() { usual.unwrap_or_default() } else { text };
                match profile.check(field, text) {
                    Ok(value) => {
                        let path = Path::new(value.as_str().unwrap_or_default());
                        if ["region_id", "sts_region"].contains(&field)
                            && let Some(id) = regions::meant_by(value.as_str().unwrap_or_default())
                        {
                            dialogue
                                .say(&format!("note: did you mean {id}, the public region?"))?;
                        }
                        if field == "oidc_token_file" && !path.exists() {
                            dialogue.say("note: there is no such file yet")?;
                        }
                        return Ok((present != Some(&value)).then_some(Some(value)));
                    }
                    Err(problem) => problem,
                }
            }
        };
        tries += 1;
        dialogue.say(&format!("invalid value: {problem}"))?;
        if tries == TRIES {
            let error = UsageError::new(
                format!("no {field} that can be used was given: nothing was written"),
                "find it out, and run this again",
            );
            return Err(Left::Failed(error.into()));
        }
    }
}

/// Tests the profile as it would be, without writing it.
async fn try_out(
    dialogue: &mut Dialogue,
    global: &Global,
    profile: &Profile<'_>,
    changes: &[Change],
) -> std::result::Result<Finding, Left> {
    let path = profile.path;
    let trial = || -> std::result::Result<_, Error> {
        let content = Destination::of(path)?.read()?.unwrap_or_default();
        let unusable = |problem| Error::Unusable { path: path.to_owned(), problem };
        let mut document = Document::parse(&content).map_err(unusable)?;
        put(&mut document, path, profile.name, changes)?;
        Ok(document)
    };
    let document = trial().map_err(|error| Left::Failed(error.into()))?;
    dialogue.say("trying it with one call that changes nothing …")?;
    let query = query(global, Some(profile.name));
    let resolve = || resolve_as_if(&query, path, document.bytes());
    Ok(dialogue.wait_for(check(global, resolve)).await?)
}

/// Prints the result of the call; the exit code, if the profile is not to be written.
async fn show(dialogue: &mut Dialogue, finding: Finding) -> std::result::Result<Option<u8>, Left> {
    if !finding.said.is_empty() {
        dialogue.say(&finding.said)?;
    }
    let Some(failure) = finding.failure else { return Ok(None) };
    let report = Report::new(&*failure);
    dialogue.say(&report.to_string())?;
    let question = match finding.verdict {
        Verdict::Good | Verdict::ValidButDenied => return Ok(None),
        Verdict::Refused => "write the profile all the same? [y/N]: ",
        Verdict::Unknown => "the credentials could not be verified; write it? [y/N]: ",
    };
    let is_wanted = is_yes(dialogue, question, false).await?;
    Ok((!is_wanted).then_some(report.exit_code as u8))
}

/// Asks for a yes or a no; Enter is the usual one.
async fn is_yes(
    dialogue: &mut Dialogue,
    question: &str,
    usual: bool,
) -> std::result::Result<bool, Left> {
    for _ in 0..TRIES {
        let answer = dialogue.ask(question).await?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            "" => return Ok(usual),
            _ => {}
        }
    }
    Err(Left::Stopped(Stop::By(Signal::Interrupt)))
}
