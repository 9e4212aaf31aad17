"""GoogLeNet with what its auxiliary classifiers give in training. Imports torchvision, so import it late."""

from torch import Tensor, nn
from torchvision import models


class Auxiliaries(models.GoogLeNet):  # type: ignore[misc]
    """GoogLeNet and the branches of its two auxiliary classifiers (Szegedy 2015), none with its last layer.

    A branch pools the maps of inception 4a, or 4d, to 4 x 4, and has a 1 x 1 convolution, a hidden layer of 1024 units
    and dropout (0.7).
    """

    def __init__(self) -> None:
        super().__init__(aux_logits=True, init_weights=True)
        self.auxiliary_lengths: list[int] = []
        for branch in (self.aux1, self.aux2):
            self.auxiliary_lengths.append(branch.fc2.in_features)
            branch.fc2 = nn.Identity()

    def eager_outputs(self, x: Tensor, aux2: Tensor | None, aux1: Tensor | None) -> Tensor | list[Tensor | None]:
        """Return the descriptors (n, 1024); in training the list of them and those of both branches, each (n, 1024)."""
        return [x, aux1, aux2] if self.training else x
