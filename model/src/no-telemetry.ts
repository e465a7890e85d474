// This module must be imported before onnxruntime-node. Since 1.29 onnxruntime reports names and hashes of models to
// Microsoft, unless this variable is set when its library starts (https://github.com/microsoft/onnxruntime/pull/27379).
// It must be set on the main thread: the library does not see a worker's copy of the environment.
process.env.ORT_DISABLE_TELEMETRY ??= '1';
