"""The published encoders: a plain ViT, and a CNN followed by a transformer (Pix2Seq, arXiv:2109.10852)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from .encoder import Encoder, Features, valid_cells
from .transformer import FeedForward, Layer, SelfAttention, layer_norm, linear, position_codes


class EncoderLayer(Layer):
    """Self-attention, then feed-forward: (B, N, dim) to (B, N, dim)."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, drop_path)
        self.feed_forward = FeedForward(dim, mlp_dim, dropout, drop_path)

    def compute(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`mask` (B, 1, 1, N) bool, True where there is picture."""
        output: Tensor = self.feed_forward(self.attention(x, mask))
        return output


class GridTransformer(nn.Module):
    """Norm, 2-D position codes, `depth` layers, norm, over the cells of a grid. Cells of padding are not looked at."""

    def __init__(self, dim: int, depth: int, heads: int, mlp_dim: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.stem_norm = layer_norm(dim)
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, mlp_dim, dropout, drop_path) for _ in range(depth))
        self.norm = layer_norm(dim)

    def forward(self, tokens: Tensor, grid: tuple[int, int], extent: Tensor | None) -> Features:
        valid = valid_cells(extent, grid)
        mask = None if valid is None else valid[:, None, None]
        tokens = self.stem_norm(tokens) + position_codes(grid, tokens.shape[2], tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return Features(self.norm(tokens), grid)

    def numbered(self, owner: nn.Module, begin: int) -> dict[str, int]:
        """Layers of the parameters of `owner`, whose `transformer` this is: `begin`, then one more at each layer.

        The last norm counts with the last layer.
        """
        layers = {id(p): begin + i for i, layer in enumerate(self.layers, 1) for p in layer.parameters()}
        layers |= {id(p): begin + len(self.layers) for p in self.norm.parameters()}
        return {name: layers.get(id(p), begin) for name, p in owner.named_parameters()}


class VisionTransformer(Encoder):
    """Patches of `patch` pixels through a `GridTransformer`, without class token."""

    def __init__(
        self, dim: int, depth: int, heads: int, mlp_dim: int, patch: int, dropout: float = 0.1, drop_path: float = 0.1
    ) -> None:
        super().__init__()
        self.dim = dim
        self.mlp_ratio = mlp_dim / dim
        self.stem = nn.Conv2d(3, dim, patch, stride=patch)
        nn.init.xavier_uniform_(self.stem.weight)
        nn.init.zeros_(self.stem.bias)  # type: ignore[arg-type]  # Conv2d has a bias unless told otherwise
        self.transformer = GridTransformer(dim, depth, heads, mlp_dim, dropout, drop_path)

    def layers(self) -> dict[str, int]:
        """The stem, then the layers of the transformer."""
        return self.transformer.numbered(self, 0)

    def forward(self, images: Tensor, extent: Tensor | None = None) -> Features:
        """Encode images fed as they are; a remainder of H or W below one patch is left out."""
        patches = self.stem(images)
        features: Features = self.transformer(rearrange(patches, "b c h w -> b (h w) c"), patches.shape[2:], extent)
        return features


class ResNetTransformer(Encoder):
    """The feature map of another encoder (a ResNet in the papers) through a `GridTransformer`."""

    def __init__(
        self,
        backbone: Encoder,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        dropout: float = 0.1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.mlp_ratio = mlp_dim / dim
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.projection = linear(backbone.dim, dim)
        self.transformer = GridTransformer(dim, depth, heads, mlp_dim, dropout, drop_path)

    def layers(self) -> dict[str, int]:
        """Those of the backbone, the projection, then the layers of the transformer."""
        found = {f"backbone.{name}": layer for name, layer in self.backbone.layers().items()}
        return self.transformer.numbered(self, max(found.values()) + 1) | found

    def forward(self, images: Tensor, extent: Tensor | None = None) -> Features:
        """Encode images; the backbone sees the whole picture, padding included, the transformer the picture alone."""
        cells: Features = self.backbone(images, extent)
        features: Features = self.transformer(self.projection(self.dropout(cells.tokens)), cells.grid, extent)
        return features
