"""What computes an encoder's descriptors: PyTorch, its compiler, or OpenVINO; and in which precision."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from src.system.checks import needs_extra, one_of

if TYPE_CHECKING:
    import torch

    Forward = Callable[[torch.Tensor], torch.Tensor]

FLOAT32 = "float32"
TORCH, COMPILE, OPENVINO, AUTO = "torch", "compile", "openvino", "auto"
BACKENDS = (TORCH, COMPILE, OPENVINO, AUTO)
SHAPES = 64
"""Shapes of batches that a compiled network may be given."""
NO_COMPILER = ("InvalidCxxCompiler", "CppCompileError", "Failed to find C compiler")
PRECISIONS = (FLOAT32, "bfloat16", "float16")


def check_backend(backend: str, precision: str) -> None:
    """Raise `ValueError` unless there are such a backend and precision here, and the one has the other."""
    one_of(BACKENDS, backend=backend)
    one_of(PRECISIONS, precision=precision)
    if backend == OPENVINO:
        check_openvino()
    if backend == OPENVINO and precision == "float16":
        raise ValueError("encoder.backend=openvino computes in float32 or bfloat16, but got encoder.precision=float16")


def make_runner(module: "torch.nn.Module", backend: str, precision: str, device: "torch.device") -> "Forward":
    """Return what a module computes in evaluation, as a function: prepared pixels in, descriptors out.

    The descriptors of one backend and precision differ from another's by roundings. Errors: ValueError where OpenVINO
    is asked to run on a GPU, and at the first call where there is no compiler.
    """
    assert backend != AUTO, "what it comes to is chosen before (src.encoders.backend_choice)"
    if backend != OPENVINO:
        return Torch(module, backend == COMPILE, precision, device)
    if device.type != "cpu":
        raise ValueError(f"encoder.backend=openvino runs on the CPU, but the device is {device}: method.device=cpu")
    return OpenVino(module, precision)


class Torch:
    """PyTorch, layer by layer or compiled; on a GPU compiled means CUDA graphs, too."""

    def __init__(self, module: "Callable[..., Any]", compiled: bool, precision: str, device: "torch.device") -> None:
        import torch

        self.type = device.type
        self.precision = None if precision == FLOAT32 else getattr(torch, precision)
        self.compiled = compiled
        mode = "reduce-overhead" if self.type == "cuda" else "default"
        if compiled:
            torch._dynamo.reset()  # what was compiled before counts as one of `SHAPES` where networks share code
        self.module = torch.compile(module, dynamic=False, mode=mode) if compiled else module

    def __call__(self, pixels: "torch.Tensor") -> Any:
        """Return what the module gives of prepared pixels: descriptors."""
        import torch

        # Full float32 and one order of summation on GPUs too: a store may be filled by several devices.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        narrow = torch.autocast(self.type, self.precision, enabled=self.precision is not None)
        with torch.inference_mode(), exact, narrow:
            # What is compiled may write each batch's descriptors over the last one's.
            return self.compile_and_run(pixels).clone() if self.compiled else self.module(pixels)

    def compile_and_run(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Return what the compiled module does; `ValueError` where the machine has no compiler."""
        import torch
        from torch._inductor.exc import InductorError

        # Beyond the limit PyTorch would compute as if uncompiled, without a word.
        loud = torch._dynamo.config.patch(recompile_limit=SHAPES, fail_on_recompile_limit_hit=True)
        try:
            with warnings.catch_warnings(), loud:
                warnings.filterwarnings("ignore", category=FutureWarning)  # of the compiler's own making
                descriptors: torch.Tensor = self.module(pixels)
                return descriptors
        except InductorError as error:
            if not any(said in str(error) for said in NO_COMPILER):
                raise
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"encoder.backend=compile needs a C and C++ compiler that works, such as gcc and g++ ({reason}): "
                "install one, or take encoder.backend=torch"
            ) from None


@dataclass
class OpenVino:
    """OpenVINO on the CPU, in as many threads as PyTorch has; a batch of another shape is compiled anew."""

    module: "torch.nn.Module"
    precision: str
    compiled: dict[tuple[int, ...], Any] = field(default_factory=dict)

    def __call__(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Return the descriptors of prepared pixels."""
        import torch

        pixels = pixels.contiguous()
        shape = tuple(pixels.shape)
        if shape not in self.compiled:
            self.compiled[shape] = self.compile(pixels)
        return torch.from_numpy(self.compiled[shape](pixels.numpy())[0].copy())  # it will be written over

    def compile(self, pixels: "torch.Tensor") -> Any:
        """Return the module as OpenVINO computes it for pixels of one shape."""
        import torch

        openvino = import_openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with torch.no_grad(), warnings.catch_warnings():
            # OpenVINO reads traced modules, whatever PyTorch thinks of tracing; batches have one shape.
            warnings.simplefilter("ignore", category=FutureWarning)
            warnings.simplefilter("ignore", category=DeprecationWarning)
            warnings.simplefilter("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            frontend = FrontEndManager().load_by_framework("pytorch")
            traced = TorchScriptPythonDecoder(self.module, example_input=pixels)  # held while it is converted
            model = frontend.convert(frontend.load(traced))
        model.reshape(list(pixels.shape))
        hint = {"float32": "f32", "bfloat16": "bf16"}[self.precision]
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        return openvino.Core().compile_model(model, "CPU", options)


def check_openvino() -> None:
    """Raise `ValueError` where OpenVINO is not installed."""
    if "openvino" not in sys.modules and find_spec("openvino") is None:
        raise ValueError(
            f"{needs_extra('encoder.backend=openvino', 'OpenVINO', 'openvino')}; or take encoder.backend=torch"
        )


def import_openvino() -> Any:
    """Return OpenVINO."""
    # It would tell a server of every import; without this package it does not, and lacks nothing else.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
