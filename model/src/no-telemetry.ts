// Imported before onnxruntime-node is: since 1.29 it tells Microsoft which models run where, by name and hash, unless
// this is set when its library starts (https://github.com/microsoft/onnxruntime/pull/27379). On the main thread, since a
// worker's environment is a copy that the library does not see.
process.env.ORT_DISABLE_TELEMETRY ??= '1';
