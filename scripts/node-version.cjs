/* Refuses a Node.js that is too old, before any newer syntax is parsed: preloaded with `node -r`. ES5 only. */
var minimum = [20, 19]
var found = process.versions.node.split('.')
var major = Number(found[0])
var minor = Number(found[1])

if (major < minimum[0] || (major === minimum[0] && minor < minimum[1])) {
  console.error(
    'ringcache needs Node.js ' +
      minimum.join('.') +
      ' or newer, but this is ' +
      process.version +
      ' (' +
      process.execPath +
      ').\nInstall a current release from https://nodejs.org or with your version manager (`nvm install 22`), then try again.'
  )
  process.exit(1)
}
