/** SwiftShader, a software GPU, which Debian's package `chromium` and Google Chrome bring. The system needs a Vulkan loader (`libvulkan1`). */
import { existsSync } from 'node:fs'

/** Makes it the GPU of this process and those that it starts, unless the environment names another or it is not installed. */
export function useSwiftShader(): void {
  const found = ['/usr/lib/chromium', '/opt/google/chrome']
    .map((folder) => `${folder}/vk_swiftshader_icd.json`)
    .find((path) => existsSync(path))
  if (found !== undefined) process.env.VK_ICD_FILENAMES ??= found
}
