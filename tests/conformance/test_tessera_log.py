"""A whole log that tessera wrote is written here byte for byte, and the independent reader reads it.

The figures are those of transparency-dev/tessera `testdata/log`: fifteen leaves appended one by one, so sixteen
checkpoints, fifteen partial tiles and fifteen entry bundles (entered by their SHA-256). Its private key is public.
"""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256

import pytest

from ledger.merkle.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle.cosignature import verifier_of
from ledger.merkle.note import Ed25519Signer, VerifierKey
from ledger.merkle.tiles import HashTiles, bundle_bytes, parse_bundle, tile_path
from ledger.merkle.tree import leaf_hash, verify_consistency
from tests.scenario import offline

SKEY = "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"
VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
ORIGIN = "example.com/log/testdata"
LEAVES = b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split()
CHECKPOINTS = (
    (
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "M9e0lhxJACzE1KoUdqKuPa+9p6R7dSW8BlEvrg/noo8FkGg6PbJoRNOcdjqjOq89wVvTA60eubCc4oufo5BvIVEgtQc=",
    ),
    (
        "0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=",
        "M9e0lhr9kuLxGdAtaUrhm84TQffVsLdcy808sN0a3WyniNlfcr9+bywoiIke1YYciCNjJGkCgIlQ8b16jhsmg/SChAM=",
    ),
    (
        "T1X2GdkhUjV3iyufF9b0kVsWFxIU0VI4EpNml2Teci4=",
        "M9e0llH4NKmlf0u7C8tkJioQOmi7l5ELqljXgKRg6R3G5JJ7vx7emDWo5fpqKuA/Dk/jRrI6il+7QCVirNhyUAWGoAk=",
    ),
    (
        "Wqx3HImawpLnS/Gv4ubjAvi1WIOy0b8Ze0amvqbavKk=",
        "M9e0lvAQRtH832pk2RTbeSeZMkp4FZSdJYFBUjO5SKxuRbywPUF3cx+HUrb50kjd3rUWW/fj53Wj1dwcwh9bGQnqVAg=",
    ),
    (
        "zY1lN35vrXYAPixXSd59LsU29xUJtuW4o2dNNg5Y2Co=",
        "M9e0lnFuWt0cp60moO4jAkeXvMNLIIOGn4WdyeHQurBt9mBi0tWdfkldiAt9k0FpwuZymvttsVn9uwyouXU3vPpeNAc=",
    ),
    (
        "gy5gl3aksFyiCO95a/1vLXz88A3dRq+0l9Sxte8ZqZQ=",
        "M9e0lmn5eDHyHP10zJObZdFAX2y1V8fdDKBi4IiHbDYf1TCUBwxZOhqwv2QZCqrdda2zTRTrmnwjwscN5RBTEmZUYAs=",
    ),
    (
        "a6sWvsc2eEzmj72vah7mZ5dwFltivehh2b11qwlp5Jg=",
        "M9e0ln+nHSdGSHEZBcjvqyYDXDbG8WxDwCDjbbGAMv/NTynAtJWhckSXIpuwpN3yJ4PTtzUbD34YGqIZr6RgJRn16gU=",
    ),
    (
        "IrSXADBqJ7EQoUODSDKROySgNveeL6CFhik2w/+fS7U=",
        "M9e0luA5JhTRUki/BBQD0QNiH6AEJ2pdtsA5CQjqJErViuuKrN6513RCTL2640wXJv0dCed3neRGI6dMzBq9uANf2Qc=",
    ),
    (
        "bC+VwvrJbalNVjfkdI8kUgs7mJoXrqiXCE7bgnD28pY=",
        "M9e0lq1EK37dHtgv9O3UzPxisw5vwIPcJsX9ab0xt4mvVfbdUR1fbMjN6sBFYpBoBEmD4+cWhj/AVgI5MitCO5+mews=",
    ),
    (
        "CvhHViE3S9E3htHLR+25mapWoGCJ3WckMq1UtC3VmEY=",
        "M9e0ls3mdnWX0qk4P3uGG0eYiFRWSwPR+RdeD1ARmrHPHjXP0x9UJWASPFTOTqJo0mp7Epck2O9RFB0J9IjDdAewagw=",
    ),
    (
        "y8/gZsZCtitsMan09tY+k8I7Qpr7Y5fbO2tLi9GQnfU=",
        "M9e0lrmwaVEOWFZ+HS5ITnRd2YMOSWE5QeoYu+6DHwJLnJ+SVeJ2ZiYeD7lVC5oGJx76gbfLSyCUEq6D8JkarrsuiQQ=",
    ),
    (
        "Yok1cS5VdokGLBy73BC2I16b3atss6KBN9jnIi6Fz/A=",
        "M9e0lqbRtWirJwbUy4w3VrK2RyzfW8P+OIkc8t6b6AVG/tQd1Q2SN+uCLYzNNFnf/PhzeCdURSGQe1MRnohCxPu21wg=",
    ),
    (
        "uZo6M+IhVna+CLgWCrJs0xBPUHbozHkYTQASduHSLME=",
        "M9e0lrFzoTgi+ovhrqX0DpsEAp3wLu1coMLIkeCwSkGfS4Ox4pLXo2LHudqm4merh0ZkCNzHr8kQwq5gS5mmimIvdA4=",
    ),
    (
        "av0kLH0VkkVDrTuZzBGIx7d9z5G1l/GlKz/nAV/8woQ=",
        "M9e0liO8x8xfEOGmZVYODUjQajkEpjccPQ9EkG3yEEDet4K3BWE/DFRPH6H+b6gFFFaG5KS1bBmYS/xeZJs8lj+z+wM=",
    ),
    (
        "SvCd38yNade7xEPY1a/aAc1M3A2AHYVF8lIiUnsH1ao=",
        "M9e0lu8roIpjC+NXEG7JDkajIahoYDYWgxDtxfx/6rzLoztU9t/PvivZ48xt8ygJpjzaboSpkbVv3Jb+D3NdXWQf5wo=",
    ),
    (
        "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=",
        "M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI=",
    ),
)
"""Root and log signature of each size from 0 to 15."""
TILES = (
    "ccfdec58d220e811be8903398a8867fde33e93bba97faecad3315bd7c753bd2f",
    "59e16c84b7f06104607760ad7916b9535d578914c7f29ae5f51ad990e6a66113",
    "6168c234ffb69c4c34476551c18dfc6041752648b15012695bff139659d59c8a",
    "9959e95e8017bc56a4dbaa0afda926b25a7b54c0ca055cff26f1093ab55f2da1",
    "cde9addac215d77831b3c28a05c63ee8679350a51760d2a63885af0d178716eb",
    "1ef4dd027e37c71ac19b68502238c107b0370b6742119c278fddd0a4b75ed350",
    "7294908b09b009d5a476bcd8c2086466c4794ceacbc40f556b32280e1a012db4",
    "92b3acf68d583ef1bfb61cf39bf9e89ff3cbe3e19f39fc698f50c91ab6360e59",
    "0acd41c3ef3e5db1efbcf9952282808aeedd41d12bd410d9e24395a0750e66c0",
    "6dcd13cc0a93d63bf0867206365aaf370de67c8f5488b149bc5e9f3925d86b54",
    "a17105d6da8c53a8051d85b9fbe52dc887478ec71aa61aa6601720b3e385d32f",
    "9b8621625e84f41ca91f60c2c9068eefa2f7df8a4732a3da17c81c7ead22c7b7",
    "e0e226249b7c08f78b9f20f1ec08dc2f625867632c4240e843b091480aa3820b",
    "014a1bdd661336c4d00606431741c06d18fd02e9f5de72e020e794d9c84dfda5",
    "93593af14d2cce39867d2e73fe4ca400a38581605c5c4501a03e752d9b51a130",
)
"""SHA-256 of `tile/0/000.p/W` for each W from 1 to 15."""
BUNDLES = (
    "217eb5c174b50240976ae2b9b7a2a213c8ebe7f525fde0f0ea7561adcb4794e1",
    "8d26204429edb13ff9b074af489a8e984bdccb3e0ea2ee1d531d5f19195b7d24",
    "17872b3223966b3b743f99f79fab73e8d54556aa39adeb6918a5b84da91b9735",
    "0f19d664a8c5a97ae47831b162c04ed6a68de060759cc19cb82085d9bdc58c7c",
    "22c2e51f0b2aa8e6a9d3770d59942127a28da1376cfab9bec868c4ada07e83b7",
    "51c4a9b199a7272c00d56d4f9e7346ca0ab68549ccd076484c7340a61dadb351",
    "545bd03b5a0b5be95070fa06c2acd61bbb80c80702ca68e130fe06dfa289287b",
    "a4413f345504eb3637bcab7f9f188baaf7efe71fcd9d05cbf1cb9f850bd23aeb",
    "eda107446820475a7382b1f3c34e0cb6833cbb976b183dd11de46ba607b9bff8",
    "81330784e6e1b74137a76d17f894317e622a918a8a91c6c7005f228ae431f488",
    "e4391087ee6b8f34bb4bdb292a590cbeb410f3ea03e60bb6d04fbd10448b322d",
    "cbb703dd472823ec9c870229060474365f5f92f7ea1a4587541a72def784e5a3",
    "0a0c8b26118fd8cc64c942ce11580a967c49bb494b931db9d8040736f4b8596a",
    "bb309a3d4f081ad2cafac932239a831a22eb8c839497f1d2ec383ef69da23927",
    "9ac6a9fc9012f2b4d67ac26041933c119e1505defc5c808ed614c5778c9f1716",
)
"""SHA-256 of `tile/entries/000.p/W` for each W from 1 to 15."""


def no_full_tile(level: int, n: int) -> bytes:
    raise AssertionError(f"a log of 15 has no full tile, but {level}/{n} was read")


HASHES = HashTiles(no_full_tile, lambda start, end: [leaf_hash(leaf) for leaf in LEAVES[start:end]])


def published(size: int) -> str:
    """The checkpoint of a size as tessera wrote it."""
    root, signature = CHECKPOINTS[size]
    return f"{ORIGIN}\n{size}\n{root}\n\n\N{EM DASH} {ORIGIN} {signature}\n"


@pytest.mark.parametrize("size", range(16))
def test_every_checkpoint_is_signed_here_as_there(size: int) -> None:
    signer = Ed25519Signer(ORIGIN, b64decode(SKEY.split("+", 4)[4])[1:])
    assert str(signer.key) == VKEY
    assert Checkpoint(ORIGIN, size, HASHES.root_at(size)).sign([signer]).decode() == published(size)
    open_checkpoint(published(size).encode(), [verifier_of(VerifierKey.parse(VKEY))], ORIGIN)


@pytest.mark.parametrize("width", range(1, 16))
def test_every_tile_and_bundle_is_written_here_as_there(width: int) -> None:
    bundle = bundle_bytes(LEAVES[:width])
    assert sha256(HASHES.tile(0, 0, width)).hexdigest() == TILES[width - 1]
    assert sha256(bundle).hexdigest() == BUNDLES[width - 1]
    assert parse_bundle(bundle) == LEAVES[:width]


@pytest.mark.parametrize("size", range(16))
def test_the_independent_reader_reads_the_log_at_every_size(size: int) -> None:
    checked = offline.open_checkpoint(published(size), VKEY)
    files = {tile_path(0, 0, width): HASHES.tile(0, 0, width) for width in range(1, 16)} | {
        tile_path("entries", 0, width): bundle_bytes(LEAVES[:width]) for width in range(1, 16)
    }
    assert offline.check_log(checked.size, checked.root, files.__getitem__) == LEAVES[:size]


@pytest.mark.parametrize("size", range(16))
def test_a_checkpoint_of_the_log_stands_for_no_other_size(size: int) -> None:
    moved = published(size).replace(f"\n{size}\n", f"\n{size + 1}\n")
    with pytest.raises(offline.Wrong):
        offline.open_checkpoint(moved, VKEY)


def test_each_checkpoint_begins_every_later_one() -> None:
    roots = [b64decode(root) for root, _ in CHECKPOINTS]
    for new in range(1, 16):
        for old in range(1, new + 1):
            proof = HASHES.consistency_proof(old, new)
            verify_consistency(old, new, proof, roots[old], roots[new])
            offline.check_consistency(old, new, proof, roots[old], roots[new])
