//! The life of a command on an instance: delivered, carried out, ended.

use std::{path::PathBuf, sync::Arc};

use futures_util::future::join_all;
use tokio::time::{sleep, sleep_until};

use super::{Ending, KeyPlugin, Order, Os, Sshd, Task, shell};
use crate::{
    instance::{Instance, InstanceStatus},
    world::Shared,
};

/// Carries the tasks of one call to their ends.
pub(crate) async fn run(shared: Arc<Shared>, tasks: Vec<Task>) {
    join_all(tasks.into_iter().map(|task| live(&shared, task))).await;
}

async fn live(shared: &Shared, task: Task) {
    sleep_until(task.begun + task.time / 2).await;
    let end = task.begun + task.time;
    if let Some(ending) = &task.ends {
        if ending.was_delivered() {
            note_running(shared, &task);
        }
        sleep_until(end).await;
        return note_end(shared, &task, ending.clone());
    }
    let delivered = deliver(shared, &task);
    let ending = match delivered {
        Err(ending) => {
            sleep_until(end).await;
            ending
        }
        Ok(work) => {
            note_running(shared, &task);
            carry_out(shared, &task, work).await
        }
    };
    if ending.is_success() {
        leave_trace(shared, &task);
    }
    note_end(shared, &task, ending);
}

/// What there is to do on the instance.
enum Work {
    /// Nothing that takes longer than it was told to.
    Pretend(Ending),
    /// Installing the key plug-in into a real sshd, and ending so.
    Install(Sshd, Ending),
    /// A script, with these programs.
    Script(PathBuf, Vec<u8>),
}

/// Looks whether the command can reach the instance, as it is now, and what it meets there.
fn deliver(shared: &Shared, task: &Task) -> Result<Work, Ending> {
    let mut world = shared.world();
    let instance = world.instances.get_mut(&task.instance).ok_or_else(Ending::instance_gone)?;
    if instance.status != InstanceStatus::Running {
        return Err(Ending::instance_not_running());
    }
    if !instance.reachable() {
        return Err(Ending::agent_offline());
    }
    if instance.os == Os::Windows {
        return Err(Ending::not_applicable());
    }
    Ok(work(shared, instance, &task.order))
}

fn work(shared: &Shared, instance: &mut Instance, order: &Order) -> Work {
    if let (Order::Install, KeyPlugin::Missing | KeyPlugin::Installed, Some(sshd)) =
        (order, &instance.commands.key_plugin, &mut instance.commands.sshd)
    {
        let ending = match sshd.use_up_failure() {
            true => Ending::failed(1).output("restart sshd failed: a job has failed\n"),
            false => installed(),
        };
        return Work::Install(sshd.clone(), ending);
    }
    match (order, &instance.commands.key_plugin, &instance.commands.shell) {
        (Order::Install, KeyPlugin::Broken { exit_code, output }, _) => {
            Work::Pretend(Ending::failed(*exit_code).output(output.as_bytes()))
        }
        (Order::Install, ..) => Work::Pretend(installed()),
        (Order::SendKey { .. }, ..) => Work::Pretend(Ending::success()),
        (Order::Script { content }, _, Some(programs)) if shared.on_loopback => {
            Work::Script(programs.clone(), content.clone())
        }
        (Order::Script { .. }, ..) => {
            Work::Pretend(Ending::failed(127).output("this instance has no shell\n"))
        }
    }
}

fn installed() -> Ending {
    Ending::success().output("config_ecs_instance_connect: installed\n")
}

async fn carry_out(shared: &Shared, task: &Task, work: Work) -> Ending {
    let end = task.begun + task.time;
    match work {
        Work::Pretend(_) if task.time / 2 > task.limit => {
            sleep(task.limit).await;
            Ending::execution_timeout()
        }
        Work::Pretend(ending) => {
            sleep_until(end).await;
            ending
        }
        Work::Install(sshd, ending) => {
            sleep_until(end).await;
            match sshd.install().await {
                Ok(_) => ending,
                Err(error) => Ending::failed(1).output(format!("sshd: {error}\n")),
            }
        }
        Work::Script(programs, script) => {
            let ending = shell::run(&script, &programs, task.limit, &shared.processes).await;
            sleep_until(end).await;
            ending
        }
    }
}

/// What a command that succeeded leaves behind, before anybody can hear of it.
fn leave_trace(shared: &Shared, task: &Task) {
    let mut world = shared.world();
    match &task.order {
        Order::Install => {
            if let Some(instance) = world.instances.get_mut(&task.instance) {
                instance.commands.key_plugin = KeyPlugin::Installed;
            }
        }
        Order::SendKey { user, key } => {
            let lifetime = world.settings.key_lifetime;
            drop(world);
            shared.note(|state| state.commands.register(&task.instance, user, key, lifetime));
        }
        Order::Script { .. } => {}
    }
}

fn note_running(shared: &Shared, task: &Task) {
    shared.note(|state| {
        if let Some(record) = state.commands.get_mut(task.serial) {
            record.run();
        }
    });
}

fn note_end(shared: &Shared, task: &Task, ending: Ending) {
    shared.note(|state| {
        if let Some(record) = state.commands.get_mut(task.serial) {
            record.end(ending);
        }
    });
}
