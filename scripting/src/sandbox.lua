-- Builds what scripts see. Called with the native functions; gives back the runner.
local native = ...
local real_error, real_pcall, real_type, real_rawget, real_rawset = error, pcall, type, rawget, rawset
local real_setmetatable, real_getmetatable, real_xpcall, real_setfenv = setmetatable, getmetatable, xpcall, setfenv
local real_loadstring, real_tostring, real_pairs, real_next = loadstring, tostring, pairs, next
local behind = real_setmetatable({}, {__mode = 'k'})

local function refuse() real_error('Attempt to modify a readonly table', 3) end

-- A table that can be read and not changed.
local function guarded(contents)
  local guard = real_setmetatable({}, {__index = contents, __newindex = function() real_error('Attempt to modify a readonly table', 2) end})
  behind[guard] = contents
  return guard
end

local env_contents = {}
local env = real_setmetatable({}, {
  __index = function(_, name)
    local found = env_contents[name]
    if found == nil then
      real_error("Script attempted to access nonexistent global variable '" .. real_tostring(name) .. "'", 2)
    end
    return found
  end,
  __newindex = function() real_error('Attempt to modify a readonly table', 2) end,
})
behind[env] = env_contents

for _, name in ipairs{'tostring', 'next', 'assert', 'tonumber', 'rawequal', 'gcinfo', 'collectgarbage',
                      'select', 'unpack', 'ipairs', 'error', 'type', '_VERSION'} do
  env_contents[name] = _G[name]
end
-- Whoever catches errors does not catch that the budget is used up.
local function unless_exhausted(fine, ...)
  if not fine and native.is_exhausted() then real_error((...), 0) end
  return fine, ...
end
-- As in Redis: of the error of a command pcall gives back the line, everything else a table.
local function with_line(fine, ...)
  if fine then return fine, ... end
  local failure = native.as_table((...))
  if real_type(failure) == 'table' and real_type(real_rawget(failure, 'err')) == 'string' then failure = real_rawget(failure, 'err') end
  return fine, failure
end
local function with_table(fine, ...)
  if fine then return fine, ... end
  return fine, native.as_table((...))
end
function env_contents.pcall(...) return with_line(unless_exhausted(real_pcall(...))) end
function env_contents.xpcall(f, handle, ...)
  if real_type(handle) ~= 'function' then return unless_exhausted(real_xpcall(f, handle, ...)) end
  return unless_exhausted(real_xpcall(f, function(failure) return handle(native.as_table(failure)) end, ...))
end
function env_contents.pairs(t) return real_pairs(behind[t] or t) end
function env_contents.next(t, k) return real_next(behind[t] or t, k) end
function env_contents.rawget(t, k) return real_rawget(behind[t] or t, k) end
function env_contents.rawset(t, k, v) if behind[t] then refuse() end return real_rawset(t, k, v) end
function env_contents.getmetatable(t)
  local found = real_getmetatable(t)
  if real_type(found) == 'table' then return guarded(found) end
  return found
end
function env_contents.setmetatable(t, m) if behind[t] then refuse() end return real_setmetatable(t, m) end
function env_contents.loadstring(text, name)
  if real_type(text) == 'string' and text:byte(1) == 27 then return nil, 'attempt to load a binary chunk' end
  local chunk, why = real_loadstring(text, name)
  if chunk then real_setfenv(chunk, env) end
  return chunk, why
end
function env_contents.load(reader, name)
  local parts = {}
  while true do
    local part = reader()
    if part == nil or part == '' then break end
    parts[#parts + 1] = part
  end
  return env_contents.loadstring(table.concat(parts), name or '=(load)')
end
env_contents.string = guarded{
  byte = string.byte, char = string.char, dump = string.dump, find = string.find, format = string.format, gmatch = string.gmatch,
  gsub = string.gsub, len = string.len, lower = string.lower, match = string.match, rep = string.rep,
  reverse = string.reverse, sub = string.sub, upper = string.upper, gfind = string.gfind,
}
real_getmetatable('').__index = env_contents.string
env_contents.table = guarded(table)
local coroutine_contents = {}
for name, value in real_pairs(coroutine) do coroutine_contents[name] = value end
function coroutine_contents.resume(...) return with_table(unless_exhausted(coroutine.resume(...))) end
env_contents.coroutine = guarded(coroutine_contents)
local math_contents = {}
for name, value in real_pairs(math) do math_contents[name] = value end
math_contents.random, math_contents.randomseed = native.random, native.randomseed
env_contents.math = guarded(math_contents)
env_contents.bit = guarded(native.bit)
env_contents.cjson = guarded(native.cjson)
env_contents.cmsgpack = guarded(native.cmsgpack)
env_contents.struct = guarded(native.struct)
env_contents._G = env

local function single(field, value, count)
  if count ~= 1 or real_type(value) ~= 'string' then return {err = 'ERR wrong number or type of arguments'} end
  return {[field] = value}
end
local redis = {
  call = native.call, pcall = native.pcall,
  status_reply = function(...) return single('ok', (...), select('#', ...)) end,
  error_reply = function(...)
    local reply = single('err', (...), select('#', ...))
    if select('#', ...) == 1 and real_type((...)) == 'string' then
      local text = ...
      if text:sub(1, 1) == '-' then text = text:sub(2) end
      if not text:find(' ', 1, true) then text = 'ERR ' .. text end
      reply.err = text
    end
    return reply
  end,
  sha1hex = function(...)
    if select('#', ...) ~= 1 then real_error({err = 'ERR wrong number of arguments'}) end
    return native.sha1hex((...))
  end,
  log = function(...)
    if select('#', ...) < 2 then real_error({err = 'ERR redis.log() requires two arguments or more.'}) end
    local level = ...
    if real_type(level) ~= 'number' then real_error({err = 'ERR First argument must be a number (log level).'}) end
    if level < 0 or level > 3 then real_error({err = 'ERR Invalid log level.'}) end
  end,
  setresp = function(...)
    if select('#', ...) ~= 1 then real_error({err = 'ERR redis.setresp() requires one argument.'}) end
    local version = ...
    if version ~= 2 and version ~= 3 then real_error({err = 'ERR RESP version must be 2 or 3.'}) end
    native.setresp(version)
  end,
  set_repl = function(...)
    if select('#', ...) ~= 1 then real_error({err = 'ERR redis.set_repl() requires one argument.'}) end
    local flags = ...
    if real_type(flags) ~= 'number' or flags < 0 or flags > 3 then
      real_error({err = 'ERR Invalid replication flags. Please use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.'})
    end
  end,
  replicate_commands = function() return true end,
  breakpoint = function() return false end,
  debug = function() end,
  acl_check_cmd = function(...)
    if select('#', ...) == 0 then real_error({err = 'ERR Please specify at least one argument for this redis.acl_check_cmd() call'}) end
    return native.check(...)
  end,
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = '7.0.15', REDIS_VERSION_NUM = 0x0007000f,
}
env_contents.redis = guarded(redis)

local function handler(failure)
  failure = native.as_table(failure)
  if real_type(failure) ~= 'table' then
    failure = {err = 'ERR ' .. real_tostring(failure)}
  end
  if real_rawget(failure, 'source') == nil then
    local source, line = native.where()
    real_rawset(failure, 'source', source)
    real_rawset(failure, 'line', line)
  end
  return failure
end

-- While a library is read, it registers; afterwards its functions run.
local functions = nil
redis.register_function = nil
local function load_library(chunk)
  functions = {}
  local order = {}
  local loading = {}
  local function register(...)
    local count, first, second = select('#', ...), ...
    local function bad(why) real_error({err = 'ERR ' .. why}) end
    local item = {flags = {}}
    if count == 1 then
      if real_type(first) ~= 'table' then bad('calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).') end
      for key, value in real_pairs(first) do
        if real_type(key) ~= 'string' then bad('named argument key given to redis.register_function is not a string') end
        if key == 'function_name' then
          if real_type(value) ~= 'string' then bad('function_name argument given to redis.register_function must be a string') end
          item.name = value
        elseif key == 'description' then
          if real_type(value) ~= 'string' then bad('description argument given to redis.register_function must be a string') end
          item.description = value
        elseif key == 'callback' then
          if real_type(value) ~= 'function' then bad('callback argument given to redis.register_function must be a function') end
          item.callback = value
        elseif key == 'flags' then
          if real_type(value) ~= 'table' then bad('flags argument to redis.register_function must be a table representing function flags') end
          for _, flag in ipairs(value) do
            if real_type(flag) ~= 'string' or not native.is_flag(flag) then bad('unknown flag given') end
            item.flags[#item.flags + 1] = flag
          end
        else
          bad('unknown argument given to redis.register_function')
        end
      end
      if not item.name then bad('redis.register_function must get a function name argument') end
      if not item.callback then bad('redis.register_function must get a callback argument') end
    elseif count == 2 then
      if real_type(first) ~= 'string' then bad('first argument to redis.register_function must be a string') end
      if real_type(second) ~= 'function' then bad('second argument to redis.register_function must be a function') end
      item.name, item.callback = first, second
    else
      bad('wrong number of arguments to redis.register_function')
    end
    if item.name == '' or item.name:find('[^%w_]') then
      bad('Library names can only contain letters, numbers, or underscores(_) and must be at least one character long')
    end
    if functions[item.name] then bad('Function already exists in the library') end
    functions[item.name] = item
    order[#order + 1] = item
  end
  for _, name in ipairs{'sha1hex', 'log', 'error_reply', 'status_reply', 'LOG_DEBUG', 'LOG_VERBOSE', 'LOG_NOTICE',
                        'LOG_WARNING', 'REDIS_VERSION', 'REDIS_VERSION_NUM'} do
    loading[name] = redis[name]
  end
  loading.register_function = register
  local loading_guard = real_setmetatable({}, {
    __index = function(_, name)
      local found = loading[name]
      if found == nil then
        real_error("Script attempted to access nonexistent global variable '" .. real_tostring(name) .. "'", 2)
      end
      return found
    end,
    __newindex = function() real_error('Attempt to modify a readonly table', 2) end,
  })
  behind[loading_guard] = loading
  local hidden = {redis = env_contents.redis, math = env_contents.math, getmetatable = env_contents.getmetatable}
  for name in real_pairs(hidden) do env_contents[name] = nil end
  env_contents.redis = loading_guard
  real_setfenv(chunk, env)
  local fine, failure = real_xpcall(chunk, handler)
  for name, value in real_pairs(hidden) do env_contents[name] = value end
  -- What the library has kept of it.
  loading.register_function = function()
    real_error({err = 'ERR redis.register_function can only be called on FUNCTION LOAD command'})
  end
  return fine, failure, order
end

local function run_script(chunk, keys, args)
  env_contents.KEYS, env_contents.ARGV = keys, args
  real_setfenv(chunk, env)
  return real_xpcall(chunk, handler)
end

local function run_function(name, keys, args)
  local item = functions[name]
  for other, its in real_pairs(functions) do
    if not item and other:lower() == name:lower() then item = its end
  end
  return real_xpcall(function() return item.callback(keys, args) end, handler)
end

return {load_library = load_library, run_script = run_script, run_function = run_function}
