// Stands in for global-agent, which the install script of onnxruntime-node calls before it downloads GPU libraries, and nothing else
// uses: in a checkout they are not fetched. New releases of npm do not even run the script (`allowScripts` in package.json); old
// ones know no other way without a key in .npmrc that the new ones warn of. The version is one that onnxruntime-node takes.
exports.bootstrap = () => process.exit(0)
