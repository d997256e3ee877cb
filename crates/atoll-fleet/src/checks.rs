//! Tries whether copies can be made that no session was sent yet, a few at a time, so that what cannot be made shows although its destination is away.

use std::sync::Arc;
use std::time::Duration;

use atoll_placement::place::ObjectIndex;

use crate::model::Made;
use crate::shared::Shared;

/// Between two looks, and before the first: who is connected is sent its copies meanwhile, which tells as well.
const PAUSE: Duration = Duration::from_millis(500);
/// Copies that are tried at once.
const AT_ONCE: usize = 200;
/// Between two parts of one look.
const BREATH: Duration = Duration::from_millis(5);

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let objects: Vec<ObjectIndex> = {
            let world = shared.world.read();
            world.unchecked.iter().copied().collect()
        };
        for object in objects {
            while !look(&shared, object) {
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Tries some copies of an object. True: all are tried.
fn look(shared: &Shared, object: ObjectIndex) -> bool {
    let (made, looks) = {
        let world = shared.world.read();
        (world.try_copies(object, AT_ONCE), world.looks)
    };
    let rest = made.len() >= AT_ONCE;
    shared.note_made(made, looks);
    if rest {
        return false;
    }
    let mut world = shared.world.write();
    // Something may have changed meanwhile.
    let done = world.try_copies(object, 1).is_empty();
    if done {
        world.unchecked.remove(&object);
    }
    done
}

impl Shared {
    /// Takes in what came of making copies, and tells whoever shows it. What was found out before something about a destination changed is left out: it is found out again.
    pub(crate) fn note_made(&self, made: Vec<Made>, looks: u64) {
        if made.is_empty() {
            return;
        }
        let mut world = self.world.write();
        for (object, destinations) in world.note_made(made, looks).unwrap_or_default() {
            self.touched(object, &destinations, world.applied);
            self.news.reported(&world, object, &destinations);
            for policy in world.objects.get(&object).iter().flat_map(|o| &o.policies) {
                self.policy_status.add(*policy);
            }
        }
    }
}
