import { z } from 'zod';

/** `serverInfo` as the Connect API shows it (seed: ServerInfo). */
export const serverInfoSchema = z
  .strictObject({
    name: z.string(),
    version: z.string(),
    title: z.string().optional(),
    description: z.string().optional(),
    websiteUrl: z.string().optional(),
    icons: z
      .array(
        z.strictObject({
          src: z.string(),
          mimeType: z.string().optional(),
          sizes: z.array(z.string()).optional(),
          theme: z.enum(['light', 'dark']).optional(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'ServerInfo', description: 'What the upstream says of itself.' });

export type ServerInfo = z.infer<typeof serverInfoSchema>;

/**
 * Keeps of an upstream's `serverInfo` (MCP: Implementation) what has the right form, cut to size: it is
 * untrusted text. Undefined when it has no name.
 */
export function readServerInfo(
  value: unknown,
  limits: { serverInfoChars: number; serverInfoIcons: number; iconUrlChars: number },
): ServerInfo | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const given = value as Record<string, unknown>;
  const text = (field: unknown): string | undefined =>
    typeof field === 'string' ? field.slice(0, limits.serverInfoChars) : undefined;
  const name = text(given.name);
  if (name === undefined) return undefined;
  const info: ServerInfo = { name, version: text(given.version) ?? '' };
  const title = text(given.title);
  const description = text(given.description);
  const websiteUrl = text(given.websiteUrl);
  if (title !== undefined) info.title = title;
  if (description !== undefined) info.description = description;
  if (websiteUrl !== undefined) info.websiteUrl = websiteUrl;
  if (Array.isArray(given.icons)) {
    info.icons = given.icons
      .slice(0, limits.serverInfoIcons)
      .map((icon) => readIcon(icon, limits.iconUrlChars))
      .filter((icon) => icon !== undefined);
  }
  return info;
}

type Icon = NonNullable<ServerInfo['icons']>[number];

function readIcon(value: unknown, maxChars: number): Icon | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { src, mimeType, sizes, theme } = value as Record<string, unknown>;
  if (
    typeof src !== 'string' ||
    src.length > maxChars ||
    !/^(https?:\/\/|data:image\/)[\x21-\x7e]+$/i.test(src)
  )
    return undefined;
  const icon: Icon = { src };
  if (typeof mimeType === 'string' && mimeType.length <= 100) icon.mimeType = mimeType;
  if (Array.isArray(sizes)) {
    icon.sizes = sizes
      .filter((size) => typeof size === 'string' && size.length <= 20)
      .slice(0, 16) as string[];
  }
  if (theme === 'light' || theme === 'dark') icon.theme = theme;
  return icon;
}

/** The address shown as the connection's icon: the first icon for light backgrounds, or null. */
export function iconUrlOf(info: ServerInfo | undefined): string | null {
  const icons = info?.icons ?? [];
  return (icons.find((icon) => icon.theme !== 'dark') ?? icons[0])?.src ?? null;
}
