/**
 * A new element with properties, data attributes and children.
 *
 * @param {string} tag
 * @param {{ data?: Record<string, string>, [property: string]: unknown }} properties
 * @param {...(Node | string)} children
 */
export function element(tag, { data = {}, ...properties }, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  Object.assign(node.dataset, data);
  node.append(...children);
  return node;
}
