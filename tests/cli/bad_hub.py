"""What the Hub does not have, or does not give."""

from __future__ import annotations

from .bad_case import Arguments, Case, Place
from .support import color_data, parquet, repository


def gated(place: Place) -> Arguments:
    place.hub.add_model("org/gated", repository(place.victims.clean), gated=True)
    return place.audit(model="org/gated")


def gated_data(place: Place) -> Arguments:
    files = {"README.md": b"# Data", "test-0.parquet": parquet(color_data())}
    place.hub.add_dataset("org/gated", files, gated=True)
    return place.audit(data="org/gated")


def public(place: Place) -> str:
    place.hub.add_model("org/public", repository(place.victims.clean))
    return "org/public"


def pickle_on_the_hub(place: Place) -> Arguments:
    files = repository(place.victims.clean)
    del files["model.safetensors"]
    place.hub.add_model("org/pickle", files)
    return place.audit(model="org/pickle")


def no_data_files(place: Place) -> Arguments:
    place.hub.add_dataset("org/empty", {"README.md": b"# Empty"})
    return place.audit(data="org/empty")


def server_error(place: Place) -> Arguments:
    place.hub.add_model("org/broken", repository(place.victims.clean))
    place.hub.fail_next("/api/models/org/broken", status=400, times=50)
    return place.audit(model="org/broken")


NEEDS_TOKEN = "check the name; for a private repository: hf auth login, or --token"
HUB = [
    Case(
        "unknown repository",
        lambda p: p.audit(model="org/unknown"),
        "org/unknown was not found on the Hub",
        NEEDS_TOKEN,
        where="hub",
    ),
    Case(
        "folder written as owner/name",
        lambda p: p.audit(model="org/net"),
        "org/net was not found on the Hub",
        "for the folder of that name write ./org/net",
        where="hub",
    ),
    Case(
        "folder written as a name",
        lambda p: p.audit(model="org"),
        "'org' is not a model on the Hub",
        "for the folder write ./org",
        code=4,
        where="hub",
    ),
    Case("gated", gated, "org/gated is gated and you have no access", "/org/gated", where="hub"),
    Case(
        "wrong revision",
        lambda p: p.audit(model=f"{public(p)}@v9"),
        "org/public has no revision v9",
        "use a branch, a tag or a full commit sha",
        where="hub",
    ),
    Case(
        "wrong token",
        lambda p: [*p.audit(model="org/unknown"), "--token", "hf_wrong"],
        "the Hub answered 401 for org/unknown",
        "hf auth login, or pass --token",
        where="hub",
    ),
    Case(
        "push without a token",
        lambda p: ["repair", "--report", p.victims.report, "--push", "--yes", "--to", "me/x"],
        "this needs a token of the Hub, there is none",
        "hf auth login, or pass --token",
        where="hub",
    ),
    Case(
        "push with a wrong token",
        lambda p: [
            *("repair", "--report", p.victims.report, "--push", "--yes", "--to", "me/x"),
            *("--token", "hf_wrong"),
        ],
        "the Hub answered 401 for the token",
        "hf auth login, or pass --token",
        where="hub",
    ),
    Case("server error", server_error, "the Hub answered 400", "try again later", where="hub"),
    Case(
        "only a pickle on the Hub",
        pickle_on_the_hub,
        "the only weights are a pickle (pytorch_model.bin)",
        "pass --allow-pickle",
        where="hub",
    ),
    Case(
        "unknown dataset",
        lambda p: p.audit(data="org/unknown"),
        "datasets/org/unknown was not found on the Hub",
        NEEDS_TOKEN,
        where="hub",
    ),
    Case(
        "unknown plain name",
        lambda p: p.audit(data="cifar11"),
        "datasets/cifar11 was not found on the Hub",
        NEEDS_TOKEN,
        where="hub",
    ),
    Case(
        "data folder written as owner/name",
        lambda p: p.audit(data="org/net"),
        "datasets/org/net was not found on the Hub",
        "for the folder of that name write ./org/net",
        where="hub",
    ),
    Case(
        "gated dataset",
        gated_data,
        "'org/gated' is a gated dataset",
        "accept its conditions",
        where="hub",
    ),
    Case(
        "wrong revision of a dataset",
        lambda p: p.audit(data="uoft-cs/cifar10@v9"),
        "datasets/uoft-cs/cifar10 has no revision v9",
        "use a branch, a tag or a full commit sha",
        where="hub",
    ),
    Case(
        "unknown split of a dataset",
        lambda p: [*p.audit(data="cifar10"), "--split", "../tset"],
        "uoft-cs/cifar10 has no split '../tset'",
        "choose --split from train, test",
        where="hub",
    ),
    Case(
        "dataset without data files",
        no_data_files,
        "org/empty cannot be read as a dataset",
        "Parquet files",
        where="hub",
    ),
    Case(
        "no network",
        lambda p: p.audit(model="org/net"),
        "cannot be reached for org/net",
        "for the folder of that name write ./org/net",
        where="nowhere",
    ),
    Case(
        "no network for the images",
        lambda p: p.audit(data="cifar10"),
        "cannot be reached for datasets/uoft-cs/cifar10",
        "check the network",
        where="nowhere",
    ),
]
