"""What this program serves: the list of features and, with theirs, of all APIs. References follow from it."""

from collections.abc import Sequence
from typing import Final

from queue_service.api.apis import CORE_APIS
from queue_service.api.endpoint import Api
from queue_service.features.feature import Feature

FEATURES: Final[Sequence[Feature]] = ()
APIS: Final[Sequence[Api]] = (*CORE_APIS, *(api for feature in FEATURES for api in feature.apis))
