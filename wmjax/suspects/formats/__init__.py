"""The files that models come in: Orbax folders, safetensors, ONNX."""
