// Stands in for global-agent, which the install script of onnxruntime-node calls before it downloads GPU libraries, and nothing else
// uses: in a checkout they are not fetched. npm from 11.10 on does not even run the script (`allowScripts` in package.json); earlier
// releases know no other way without a key in .npmrc that later ones warn of. The version is one that onnxruntime-node takes.
exports.bootstrap = () => process.exit(0)
