"""Features for teachers: an encoder that several share, or the run has, is computed once."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from w2s_data.data.dataset import W2SDataset
from w2s_data.encoders.names import describe_encoder, make_encoder, remake_encoder
from w2s_data.errors import InputError, NotApplicableError, listing
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.stages.embedding import ROLES, configured, load_features
from w2s_data.stages.encoding import encode, recorded_encoder, stored_features
from w2s_data.stages.graph import EMBED, TEACH
from w2s_data.stages.models import ENCODER_SETTINGS, EmbedSettings, ModelSettings, embed_settings
from w2s_data.utils.io import jsonable, sha256_json
from w2s_data.utils.manifest import MANIFEST, owner
from w2s_data.utils.typing import IntArray

if TYPE_CHECKING:
    from w2s_data.compute.context import Compute
    from w2s_data.encoders.base import Encoder
    from w2s_data.run import Run
    from w2s_data.stages.teacher_base import TeacherSettings
    from w2s_data.utils.writer import StageWriter

# How the names of feature stores begin that no role has, and of those by the rows of a teacher.
SHARED, OWN = "teacher-", "teacher-own-"


@dataclass(frozen=True)
class TeacherEncoder:
    """An encoder, or the name of a role, and the rows (n,) that it learns from.

    Without rows an encoder that learns does so from all labelled and pool items.
    """

    encoder: Encoder | str
    rows: IntArray | None = None


def models_of(settings: TeacherSettings) -> EmbedSettings:
    """Return the encoder of a teacher as the embedding stage takes that of the weak model."""
    given = {name: getattr(settings, name, None) for name in ("encoder", *ENCODER_SETTINGS)}
    return embed_settings(ModelSettings(), ModelSettings.model_validate(given))


@dataclass
class TeacherFeatures:
    """Features of a run's items, by encoder."""

    run: Run
    dataset: W2SDataset
    compute: Compute
    notes: dict[str, list[str]] = field(default_factory=dict)  # by store that was encoded here

    @cached_property
    def by_role(self) -> dict[Any, FeatureMatrix]:
        """Features of the roles that the run has."""
        return load_features(self.run, self.compute)

    def encoder_of(self, settings: TeacherSettings, rows: IntArray | None = None) -> TeacherEncoder:
        """Return the encoder, as it will run here, of a teacher that learns from some rows."""
        encoder = getattr(settings, "encoder", None)
        if isinstance(encoder, str) and encoder in ROLES:
            return TeacherEncoder(encoder)
        if self.dataset.kind == "features":
            raise InputError(
                "the items are feature vectors, which no encoder reads: pass encoder='strong' to "
                "learn from them, or 'weak'"
            )
        models = models_of(settings)
        if isinstance(encoder, dict):  # as a run records one that Python handed over
            models = models.model_copy(update={"weak": remake_encoder(encoder)})
        elif isinstance(encoder, str):
            models = models.model_copy(update={"weak": make_encoder(encoder, self.dataset.kind)})
        made = configured(models, "weak", self.dataset, self.compute)
        learns_alone = settings.fits_own_encoder and made.learns
        return TeacherEncoder(made, rows if learns_alone else None)

    def store_of(self, used: TeacherEncoder) -> str:
        """Return the role whose features an encoder made, or the name of a store of its own."""
        if isinstance(used.encoder, str):
            return used.encoder
        made = jsonable(recorded_encoder(used.encoder))
        if used.rows is not None:
            own = {"encoder": made, "learned_from": self.dataset.ids[used.rows].tolist()}
            return OWN + sha256_json(own)[:12]
        recorded = self.run.manifest["stages"].get(EMBED.name, {}).get("settings", {})
        same = [role for role in ROLES if jsonable(recorded.get(role)) == made]
        return same[0] if same else SHARED + sha256_json(made)[:12]

    def store(self, settings: TeacherSettings, rows: IntArray) -> str | None:
        """Return the store of a teacher that learned from some rows, None without an encoder."""
        if not hasattr(settings, "encoder"):
            return None
        return self.store_of(self.encoder_of(settings, rows))

    def add_to(self, stage: StageWriter, stores: Mapping[str, str | None]) -> None:
        """Add the stores of teachers, by name, to a stage, and notes on what was encoded here."""
        for store in {own for own in stores.values() if own is not None and own not in ROLES}:
            stage.add(manifest_file(store))
        for store, notes in self.notes.items():
            readers = listing(name for name, own in stores.items() if own == store)
            stage.notes += [f"encoder of {readers or store}: {note}" for note in notes]

    def remove_unused(self, stores: Mapping[str, str | None]) -> None:
        """Delete features by encoders of rows that no teacher learns from any more."""
        for folder in self.run.path.glob(f"*/{OWN}*"):  # of the run's items, and of new ones
            if folder.name not in stores.values():
                shutil.rmtree(folder, ignore_errors=True)

    def compute_all(self, used: TeacherEncoder) -> str:
        """Encode all items, unless that was done; return the name of the store."""
        store, encoder = self.store_of(used), used.encoder
        if isinstance(encoder, str) or store in ROLES:
            return store
        if owner(self.run.manifest, manifest_file(store)) and self.run.follows(TEACH):
            return store  # encoding would find all items there, once the encoder is fitted again
        if store not in self.notes:
            folder = self.run.path / "features" / store
            self.notes[store] = encode(
                self.dataset, encoder, folder, self.compute, "teacher's", rows=used.rows
            )
            self.run.remember("encoders", {store: describe_encoder(encoder)})
        return store

    def of(self, settings: TeacherSettings, rows: IntArray | None = None) -> FeatureMatrix:
        """Return the features (N, D) that a teacher reads which learns from some rows."""
        return self.of_store(self.compute_all(self.encoder_of(settings, rows)))

    def of_store(self, store: str) -> FeatureMatrix:
        """Return the features (N, D) of a role or of a store."""
        if store in ROLES:
            if store not in self.by_role:
                raise NotApplicableError(
                    f"encoder={store!r} stands for the run's {store} features, and it has none: "
                    f"pass an encoder as {store}"
                )
            return self.by_role[store]
        manifest = manifest_file(store)
        if owner(self.run.manifest, manifest) is not None:
            self.run.file(manifest)  # as the stage left it
        made = stored_features(self.dataset, self.run.path / "features" / store)
        return FeatureView(made, name="teacher features", limit=self.compute.memory)


def manifest_file(store: str) -> str:
    """Return the manifest of a feature store, as the run names it."""
    return f"features/{store}/{MANIFEST}"
